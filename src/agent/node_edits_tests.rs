//! The last who spoke wins, and what kubectl refuses.

use super::*;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn taint(key: &str, value: &str) -> Taint {
    Taint { key: key.into(), value: Some(value.into()), effect: "NoSchedule".into(), time_added: None }
}

fn declared() -> Declared {
    Declared { labels: map(&[("disk", "ssd")]), taints: vec![taint("gpu", "yes")], ..Declared::default() }
}

fn memory() -> Memory {
    Memory::default().follow(Some(declared()))
}

fn label(key: &str, value: Option<&str>) -> Wish {
    Wish { labels: [(key.to_owned(), value.map(str::to_owned))].into(), overwrite: true, ..Wish::default() }
}

fn cordon(unschedulable: bool) -> Wish {
    Wish { unschedulable: Some(unschedulable), ..Wish::default() }
}

/// Through the Store and a restart.
fn again(memory: &Memory) -> Memory {
    Memory::of(memory.record().as_deref(), None).unwrap()
}

#[test]
fn an_edit_survives_a_restart_and_lasts_until_the_same_thing_is_declared_otherwise() {
    let edited = memory().with(&label("disk", Some("nvme")), "n").unwrap().with(&label("rack", Some("7")), "n").unwrap();
    let restarted = again(&edited).follow(Some(declared()));
    assert_eq!(restarted.effective().labels, map(&[("disk", "nvme"), ("rack", "7")]));
    let mut other = declared();
    other.labels = map(&[("disk", "hdd"), ("zone", "a")]);
    let manifest_spoke = restarted.clone().follow(Some(other));
    assert_eq!(manifest_spoke.effective().labels, map(&[("disk", "hdd"), ("rack", "7"), ("zone", "a")]));
    assert_eq!(restarted.clone().follow(None), restarted, "an unreadable manifest says nothing");
    let removed = memory().with(&label("disk", None), "n").unwrap();
    assert_eq!(again(&removed).follow(Some(declared())).effective().labels, map(&[]));
}

#[test]
fn cordon_holds_until_uncordon_or_the_manifests_word() {
    let cordoned = memory().with(&cordon(true), "n").unwrap();
    assert!(again(&cordoned).follow(Some(declared())).effective().unschedulable);
    assert_eq!(cordoned.with(&cordon(false), "n").unwrap().record(), None, "nothing is left to remember");
    let by_manifest = cordoned.follow(Some(Declared { unschedulable: true, ..declared() }));
    assert!(by_manifest.effective().unschedulable && by_manifest.record().is_none());
    let against = by_manifest.with(&cordon(false), "n").unwrap();
    assert!(!again(&against).follow(Some(Declared { unschedulable: true, ..declared() })).effective().unschedulable);
    assert!(!again(&against).follow(Some(declared())).effective().unschedulable);
}

#[test]
fn taints_are_edited_by_key_and_effect() {
    let wish = Wish { taint: vec![taint("gpu", "no"), taint("a", "b")], overwrite: true, ..Wish::default() };
    let edited = memory().with(&wish, "n").unwrap();
    assert_eq!(edited.effective().taints, [taint("gpu", "no"), taint("a", "b")]);
    let away = Wish { untaint: vec![("gpu".into(), String::new()), ("a".into(), "NoSchedule".into())], ..Wish::default() };
    let edited = again(&edited).with(&away, "n").unwrap();
    assert_eq!(edited.effective().taints, []);
    let mut other = declared();
    other.taints = vec![taint("gpu", "2")];
    assert_eq!(edited.follow(Some(other)).effective().taints, [taint("gpu", "2")]);
}

#[test]
fn what_kubectl_refuses_is_refused_in_its_words() {
    let refused = |wish: Wish| memory().with(&Wish { overwrite: false, ..wish }, "n").unwrap_err();
    assert_eq!(refused(label("disk", Some("x"))), "'disk' already has a value (ssd), and --overwrite is false");
    assert!(memory().with(&Wish { overwrite: false, ..label("disk", Some("ssd")) }, "n").is_ok(), "the same is no change");
    let taken = Wish { taint: vec![taint("gpu", "yes")], ..Wish::default() };
    assert_eq!(refused(taken), "node n already has gpu taint(s) with same effect(s) and --overwrite is false");
    let absent = |effect: &str| Wish { untaint: vec![("x".into(), effect.into())], ..Wish::default() };
    assert_eq!(refused(absent("")), "taint \"x\" not found");
    assert_eq!(refused(absent("NoExecute")), "taint \"x:NoExecute\" not found");
    let pairs = ["NoSchedule", "NoExecute"].map(|effect| ("gpu".to_owned(), effect.to_owned()));
    let half = Wish { untaint: pairs.to_vec(), ..Wish::default() };
    assert_eq!(refused(half), "taint \"gpu:NoExecute\" not found", "not the one that is there");
    assert!(refused(label("minik8s.io/source", None)).contains("the agent's own"));
    let devices = Wish { annotations: BTreeMap::from([(DEVICES.into(), Some("a.com/x: [/dev/a]".into()))]), ..Wish::default() };
    assert!(memory().with(&devices, "n").is_ok(), "the one of them that is the user's");
    assert!(refused(Wish { taint: vec![taint(UNSCHEDULABLE, "")], ..Wish::default() }).contains("use those"));
}

#[test]
fn without_a_record_the_stored_node_is_what_is_declared() {
    let mut node = Node::default();
    node.metadata.labels = Some(map(&[("a", "b")]));
    let taint = Taint { key: UNSCHEDULABLE.into(), effect: "NoSchedule".into(), ..Taint::default() };
    node.spec = Some(k8s_openapi::api::core::v1::NodeSpec { unschedulable: Some(true), taints: Some(vec![taint]), ..Default::default() });
    let holds = Memory::of(None, Some(&node)).unwrap().effective();
    assert_eq!(holds, Declared { labels: map(&[("a", "b")]), unschedulable: true, ..Declared::default() });
    assert!(Memory::of(Some(b"{"), None).unwrap_err().contains("cannot be read"));
}
