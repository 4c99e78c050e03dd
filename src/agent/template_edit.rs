//! A DaemonSet's template changed in the text of its manifest, for `rollout undo` and `rollout restart`.
//!
//! Guarantees: the text that comes out decodes to exactly the object that comes with it. The layout and the comments around the change stay where
//! the text can be changed in place; where it cannot (flow style, aliases) the document is written anew. Left to others: the file
//! (`manifest_edit`).

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::Serialize;

use crate::api::Object;
use crate::api::manifest::decode;
use crate::api::yaml::{self, Node, Pair, Place};
use crate::controllers::daemonset::rollback::RESTARTED_AT;

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
    settle(replaced(text, template), wanted)
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
    let nested = |depth: usize, text: &str| format!("{}{text}", "  ".repeat(depth));
    let Some(metadata) = template.value.pair("metadata") else {
        return insert_under(text, &template, &["metadata:".to_owned(), nested(1, "annotations:"), nested(2, line)]);
    };
    let Some(annotations) = metadata.value.pair("annotations") else {
        return insert_under(text, metadata, &["annotations:".to_owned(), nested(1, line)]);
    };
    let Some(old) = annotations.value.pair(RESTARTED_AT) else {
        return insert_under(text, annotations, &[line.to_owned()]);
    };
    let indent = indent_of(text, old)?;
    let (start, end) = (line_start(text, old.place.offset), line_end(text, old.place.offset));
    Some(format!("{}{indent}{line}\n{}", &text[..start], &text[end..]))
}

/// Lines before the first key of the block mapping that `parent` holds.
fn insert_under(text: &str, parent: &Pair, lines: &[String]) -> Option<String> {
    let first = parent.value.pairs().first().filter(|first| first.place.line > parent.place.line)?;
    let indent = indent_of(text, first)?;
    let at = line_start(text, first.place.offset);
    let added: String = lines.iter().map(|line| format!("{indent}{line}\n")).collect();
    Some(format!("{}{added}{}", &text[..at], &text[at..]))
}

/// The block below `template:` replaced.
fn replaced(text: &str, template: &PodTemplateSpec) -> Option<String> {
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
        assert!(!text.contains("not a comment\n          # not"), "{text}");
    }
}
