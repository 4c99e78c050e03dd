//! A DaemonSet's template changed in the text of its manifest, for `rollout undo` and `rollout restart`.
//!
//! Guarantees: the text that comes out decodes to exactly the object that comes with it. The layout and the comments around the change stay where
//! the text can be changed in place; where it cannot (flow style, aliases) the document is written anew. Left to others: the file
//! (`manifest_edit`).

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;
use serde_json::Value;

use crate::api::manifest::decode;
use crate::api::yaml::{self, Node, Pair, Place};
use crate::api::{Kind, Object, defaults};
use crate::controllers::daemonset::rollback::RESTARTED_AT;

/// The template in a DaemonSet's JSON.
const TEMPLATE: &str = "/spec/template";
/// So many fields are looked at for being defaults; a template has some fifty.
const MOST_FIELDS: usize = 1000;

/// The document with the template's annotation [`RESTARTED_AT`] set to `at`.
pub fn restarted(text: &str, ds: &DaemonSet, at: &str) -> (String, Object) {
    let mut wanted = ds.clone();
    if let Some(spec) = &mut wanted.spec {
        let annotations = spec.template.metadata.get_or_insert_default().annotations.get_or_insert_default();
        annotations.insert(RESTARTED_AT.to_owned(), at.to_owned());
    }
    settle(annotated(text, &format!("{RESTARTED_AT}: {at:?}")), wanted)
}

/// The document with another template.
pub fn with_template(text: &str, ds: &DaemonSet, template: &PodTemplateSpec) -> (String, Object) {
    let mut wanted = ds.clone();
    if let Some(spec) = &mut wanted.spec {
        spec.template = template.clone();
    }
    let edited = replaced(text, &without_defaults(&wanted));
    settle(edited, wanted)
}

/// The edited text if it says what it should, else the whole document anew.
fn settle(edited: Option<String>, wanted: DaemonSet) -> (String, Object) {
    let wanted: Object = wanted.into();
    let says_it = |text: &String| {
        let decoded = decode("", text.as_bytes());
        matches!(decoded.documents.as_slice(), [only] if only.object.as_ref() == Some(&wanted))
    };
    let json = wanted.to_json();
    let text = edited.filter(says_it).or_else(|| written(&json).filter(says_it));
    (text.unwrap_or_else(|| serde_json::to_string_pretty(&json).unwrap_or_default()), wanted)
}

fn written(value: &impl Serialize) -> Option<String> {
    serde_saphyr::to_string(value).ok()
}

/// The pair `spec.template` of the one document in `text`.
fn template_of(text: &str) -> Option<Pair> {
    let start = Place { line: 1, column: 1, offset: 0 };
    let root: Node = yaml::parse(text, start).into_iter().next()?.root?;
    root.get("spec")?.pair("template").cloned()
}

fn annotated(text: &str, line: &str) -> Option<String> {
    let template = template_of(text)?;
    let Some(metadata) = template.value.pair("metadata") else {
        return insert_under(text, &template, &["metadata", "annotations", line]);
    };
    let Some(annotations) = metadata.value.pair("annotations") else {
        return insert_under(text, metadata, &["annotations", line]);
    };
    let Some(old) = annotations.value.pair(RESTARTED_AT) else {
        return insert_under(text, annotations, &[line]);
    };
    let value = line.split_once(": ").map_or(line, |(_, value)| value);
    Some(format!("{}{value}{}", text.get(..old.value.place.offset)?, text.get(old.value.end..)?))
}

/// Keys nested in each other, the last with its value, as the first of the mapping that `parent` holds: in its flow braces, or above its first key.
fn insert_under(text: &str, parent: &Pair, keys: &[&str]) -> Option<String> {
    let (last, outer) = keys.split_last()?;
    let first = parent.value.pairs().first()?;
    let at = parent.value.place.offset;
    if text.get(at..)?.starts_with('{') {
        let open: String = outer.iter().map(|key| format!("{key}: {{")).collect();
        return Some(format!("{}{open}{last}{}, {}", &text[..=at], "}".repeat(outer.len()), &text[at + 1..]));
    }
    let indent = indent_of(text, first).filter(|_| first.place.line > parent.place.line)?;
    let at = line_start(text, first.place.offset);
    let line =
        |(depth, key): (usize, &&str)| format!("{indent}{}{key}{}\n", "  ".repeat(depth), if depth < outer.len() { ":" } else { "" });
    let added: String = keys.iter().enumerate().map(line).collect();
    Some(format!("{}{added}{}", &text[..at], &text[at..]))
}

/// The block below `template:` replaced.
fn replaced(text: &str, template: &Value) -> Option<String> {
    let old = template_of(text)?;
    old.value.pairs().first().filter(|first| first.place.line > old.place.line)?;
    let indent = indent_of(text, &old)?;
    let start = line_end(text, old.place.offset);
    let (mut at, mut end) = (start, start);
    for line in text[start..].split_inclusive('\n') {
        let deeper = line.len() - line.trim_start_matches(' ').len() > indent.len();
        at += line.len();
        match line.trim() {
            "" => {}
            _ if deeper => end = at,
            comment if comment.starts_with('#') => {}
            _ => break,
        }
    }
    let inner = format!("{indent}  ");
    let body: String = written(template)?.lines().map(|l| if l.is_empty() { "\n".to_owned() } else { format!("{inner}{l}\n") }).collect();
    Some(format!("{}{body}{}", &text[..start], &text[end..]))
}

/// The template without what the defaults fill in again, as one would write it.
fn without_defaults(wanted: &DaemonSet) -> Value {
    let wanted: Object = wanted.clone().into();
    let mut json = wanted.to_json();
    let mut paths = Vec::new();
    fields(json.pointer(TEMPLATE).unwrap_or(&Value::Null), TEMPLATE, &mut paths);
    for path in paths.iter().take(MOST_FIELDS) {
        let Some((parent, field)) = path.rsplit_once('/') else { continue };
        let mut shorter = json.clone();
        shorter.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|o| o.remove(&field.replace("~1", "/").replace("~0", "~")));
        let same = Object::from_json(Kind::DaemonSet, shorter.to_string().as_bytes()).is_ok_and(|mut object| {
            defaults::apply(&mut object);
            object == wanted
        });
        if same {
            json = shorter;
        }
    }
    json.pointer(TEMPLATE).cloned().unwrap_or_default()
}

/// JSON pointers of all fields below `value`, outer ones first.
fn fields(value: &Value, path: &str, paths: &mut Vec<String>) {
    for (field, inner) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{}", field.replace('~', "~0").replace('/', "~1"));
        paths.push(path.clone());
        fields(inner, &path, paths);
    }
    for (i, inner) in value.as_array().into_iter().flatten().enumerate() {
        fields(inner, &format!("{path}/{i}"), paths);
    }
}

/// The spaces before a key that begins its line.
fn indent_of<'t>(text: &'t str, pair: &Pair) -> Option<&'t str> {
    text.get(line_start(text, pair.place.offset)..pair.place.offset).filter(|before| before.bytes().all(|b| b == b' '))
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

fn line_end(text: &str, offset: usize) -> usize {
    text.get(offset..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| offset + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
# Logs of every host.
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: web
spec:
  selector:
    matchLabels: {app: web}
  template: # the pods
    metadata:
      # why: selector
      labels: {app: web}
    spec:
      containers:
      - name: c # the one
        image: busybox:1
        command:
        - sh
        - -c
        - |
          echo one
          # not a comment
# trailing
  revisionHistoryLimit: 3
";

    fn daemon_set(text: &str) -> DaemonSet {
        let decoded = decode("", text.as_bytes());
        decoded.documents[0].object.as_ref().and_then(Object::as_daemon_set).unwrap_or_else(|| panic!("{:?}", decoded.faults)).clone()
    }

    #[test]
    fn a_restart_adds_one_annotation_and_then_changes_it() {
        let (once, object) = restarted(MANIFEST, &daemon_set(MANIFEST), "2026-01-01T00:00:00Z");
        let line = "      annotations:\n        kubectl.kubernetes.io/restartedAt: \"2026-01-01T00:00:00Z\"\n";
        assert_eq!(once, MANIFEST.replace("      labels: {app: web}\n", &format!("{line}      labels: {{app: web}}\n")));
        assert_eq!(object, daemon_set(&once).into());
        let (twice, _) = restarted(&once, &daemon_set(&once), "2026-01-01T00:00:09Z");
        assert_eq!(twice, once.replace("00:00:00Z", "00:00:09Z"));
        let others = once.replace("kubectl.kubernetes.io/restartedAt", "example.com/a");
        let (third, _) = restarted(&others, &daemon_set(&others), "2026-01-01T00:00:00Z");
        assert!(third.contains("restartedAt: \"2026-01-01T00:00:00Z\"\n        example.com/a: "), "{third}");
    }

    #[test]
    fn flow_mappings_grow_between_their_braces() {
        let flow =
            MANIFEST.replace("    metadata:\n      # why: selector\n      labels: {app: web}\n", "    metadata: {labels: {app: web}}\n");
        let (once, object) = restarted(&flow, &daemon_set(&flow), "2026-01-01T00:00:00Z");
        let grown = "metadata: {annotations: {kubectl.kubernetes.io/restartedAt: \"2026-01-01T00:00:00Z\"}, labels: {app: web}}";
        assert_eq!((once.clone(), object), (flow.replace("metadata: {labels: {app: web}}", grown), daemon_set(&once).into()));
        let (twice, _) = restarted(&once, &daemon_set(&once), "2026-01-01T00:00:09Z");
        assert_eq!(twice, once.replace("00:00:00Z", "00:00:09Z"));
    }

    #[test]
    fn text_that_cannot_be_changed_in_place_is_written_anew() {
        for text in [
            "{\"apiVersion\": \"apps/v1\", \"kind\": \"DaemonSet\", \"metadata\": {\"name\": \"d\"}, \"spec\": {\"selector\": {\"matchLabels\": {\"a\": \"b\"}}, \"template\": {\"metadata\": {\"labels\": {\"a\": \"b\"}}, \"spec\": {\"containers\": [{\"name\": \"c\", \"image\": \"i\"}]}}}}",
            "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: d, labels: &l {a: b}}\nspec:\n  selector: {matchLabels: *l}\n  template: {metadata: {labels: *l}, spec: {containers: [{name: c, image: i}]}}\n",
        ] {
            let (new, object) = restarted(text, &daemon_set(text), "2026-01-01T00:00:00Z");
            assert_eq!(object, daemon_set(&new).into());
            let annotations = daemon_set(&new).spec.unwrap().template.metadata.unwrap().annotations.unwrap();
            assert_eq!(annotations[RESTARTED_AT], "2026-01-01T00:00:00Z");
        }
    }

    #[test]
    fn another_template_takes_the_place_of_its_block_alone() {
        let earlier = daemon_set(&MANIFEST.replace("busybox:1", "busybox:0").replace("echo one", "echo nought\n\n          yes: no"));
        let template = earlier.spec.as_ref().unwrap().template.clone();
        let (text, object) = with_template(MANIFEST, &daemon_set(MANIFEST), &template);
        assert_eq!((object, daemon_set(&text).spec.unwrap().template), (daemon_set(&text).into(), template));
        assert!(text.starts_with(&MANIFEST[..MANIFEST.find("    metadata:\n      #").unwrap()]), "{text}");
        assert!(
            text.ends_with("# trailing\n  revisionHistoryLimit: 3\n") && text.contains("busybox:0") && !text.contains("busybox:1"),
            "{text}"
        );
        assert!(!text.contains("terminationMessagePath") && !text.contains("dnsPolicy"), "defaults are not written out: {text}");
    }
}
