//! Which ids of the host's a pod with `hostUsers: false` gets: the first range that no pod of this node has (the kubelet's allocateOne). Pure.
//!
//! Guarantees: no two pods that are bound and have not ended have one range, as long as each is judged beside all those bound before it. A
//! range is free again when its pod has ended: nothing runs under its ids any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::api::user_namespace::{self, IdRange};
use crate::api::{Object, quantity};

/// The kubelet's, where `--max-pods` says no more: 110 ranges from the id 65536 on.
const POOL: u16 = 110;

/// The pod, with ids of its own if it asks for them: none that the bound pods `others` have. Errors: all are taken.
pub(super) fn give(pod: &Pod, others: &[Arc<Object>], node: &Node) -> Result<Pod, &'static str> {
    let mut pod = pod.clone();
    if user_namespace::wanted(&pod) {
        let taken: BTreeSet<IdRange> = others.iter().filter_map(|o| user_namespace::assigned(o.as_pod()?)).collect();
        let free = (0..pool(node)).filter_map(IdRange::nth).find(|range| !taken.contains(range));
        user_namespace::assign(&mut pod, free.ok_or("could not find an empty slot to allocate a user namespace")?);
    }
    Ok(pod)
}

/// How many ranges there are for pods: one for each that the node takes.
fn pool(node: &Node) -> u16 {
    let capacity = node.status.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("pods"));
    let pods = capacity.and_then(|q| quantity::parse(&q.0).ok()).map_or(0, |q| q.value());
    u16::try_from(pods).unwrap_or(IdRange::COUNT).clamp(POOL, IdRange::COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;
    use crate::api::well_known::USER_NAMESPACE;
    use proptest::prelude::*;
    use serde_json::json;

    fn pod(uid: usize, host_users: bool) -> Pod {
        let annotations = json!({USER_NAMESPACE: "0"});
        serde_json::from_value(json!({"metadata": {"name": format!("p{uid}"), "uid": uid.to_string(), "annotations": annotations},
            "spec": {"containers": [], "hostUsers": host_users}}))
        .unwrap()
    }

    fn node(pods: &str) -> Node {
        serde_json::from_value(json!({"metadata": {}, "status": {"capacity": {"pods": pods}}})).unwrap()
    }

    /// Bound, as a restart reads it back.
    fn bound(mut pod: Pod) -> Arc<Object> {
        pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        Arc::new(Object::from_json(Kind::Pod, &serde_json::to_vec(&pod).unwrap()).unwrap())
    }

    fn range(object: &Object) -> Option<u32> {
        user_namespace::assigned(object.as_pod().unwrap()).map(IdRange::first)
    }

    #[test]
    fn the_first_free_range_whatever_the_template_says() {
        let mut others: Vec<Arc<Object>> = Vec::new();
        for expected in [65536, 131_072, 196_608] {
            let next = bound(give(&pod(others.len(), false), &others, &node("110")).unwrap());
            assert_eq!(range(&next), Some(expected));
            others.push(next);
        }
        assert_eq!(give(&pod(7, true), &others, &node("110")), Ok(pod(7, true)), "nothing is given where nothing is asked for");
        others.remove(1);
        assert_eq!(range(&bound(give(&pod(8, false), &others, &node("110")).unwrap())), Some(131_072));
    }

    #[test]
    fn as_many_as_the_node_takes_pods_and_no_more() {
        assert_eq!((pool(&Node::default()), pool(&node("3")), pool(&node("500")), pool(&node("1M"))), (110, 110, 500, IdRange::COUNT));
        let mut others: Vec<Arc<Object>> = Vec::new();
        for uid in 0..110 {
            others.push(bound(give(&pod(uid, false), &others, &node("110")).unwrap()));
        }
        assert_eq!(others.last().and_then(|o| range(o)), Some(110 * 65536));
        let message = give(&pod(110, false), &others, &node("110")).unwrap_err();
        assert_eq!(message, "could not find an empty slot to allocate a user namespace");
    }

    proptest! {
        /// Pods come and go in any order, and all that is known of them is what is stored: no two live pods share an id.
        #[test]
        fn no_two_live_pods_share_a_range(steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..150)) {
            let mut live: Vec<Arc<Object>> = Vec::new();
            for (uid, (comes, which)) in steps.into_iter().enumerate() {
                if comes || live.is_empty() {
                    if let Ok(pod) = give(&pod(uid, uid % 7 == 0), &live, &node("110")) {
                        live.push(bound(pod));
                    }
                } else {
                    live.remove(which.index(live.len()));
                }
                let wanting = live.iter().filter(|o| user_namespace::wanted(o.as_pod().unwrap())).count();
                let ranges: BTreeSet<u32> = live.iter().filter_map(|o| range(o)).collect();
                prop_assert_eq!(ranges.len(), wanting);
            }
        }
    }
}
