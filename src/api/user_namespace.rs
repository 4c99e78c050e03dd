//! The user namespace of a pod with `hostUsers: false`: which of the host's user and group ids are the pod's own.
//!
//! As the kubelet's (pkg/kubelet/userns/userns_manager.go): 65536 ids in a row, for users and groups alike, of which the first is root in the
//! pod. What a pod was given stands in an annotation of ours, written in the transaction that binds it. Giving is `controllers::binding`'s.

use k8s_openapi::api::core::v1::Pod;

use super::well_known::USER_NAMESPACE;

/// A row of 65536 ids of the host's, beginning at a multiple of that. Never the host's own first row, nor the last, which has no user's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdRange(u16);

impl IdRange {
    /// How many ids: 0 to 65535 inside (userNsUnitLength).
    pub const LENGTH: u32 = 1 << 16;
    /// How many ranges there are.
    pub const COUNT: u16 = u16::MAX - 1;

    /// The `index`th range, from 0; `None`: there are not so many.
    pub fn nth(index: u16) -> Option<IdRange> {
        (index < Self::COUNT).then(|| IdRange(index + 1))
    }

    /// The range that begins with this id of the host's, if one does.
    pub fn starting_at(first: u32) -> Option<IdRange> {
        let row = u16::try_from(first / Self::LENGTH).ok()?;
        (first.is_multiple_of(Self::LENGTH) && row > 0 && row <= Self::COUNT).then_some(IdRange(row))
    }

    /// The host's id of the pod's root.
    pub fn first(self) -> u32 {
        u32::from(self.0) * Self::LENGTH
    }

    /// The host's id of this id in the pod; `None`: the pod has no such id.
    pub fn on_host(self, id: u32) -> Option<u32> {
        (id < Self::LENGTH).then(|| self.first() + id)
    }
}

/// Whether the pod asks for a user namespace of its own.
pub fn wanted(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|s| s.host_users == Some(false))
}

/// The ids of a pod that asks for its own and was given them. Before it is bound the annotation is whoever's, and tells nothing.
pub fn assigned(pod: &Pod) -> Option<IdRange> {
    let bound = pod.spec.as_ref().is_some_and(|s| s.node_name.is_some());
    let noted = pod.metadata.annotations.as_ref().and_then(|a| a.get(USER_NAMESPACE));
    noted.filter(|_| bound && wanted(pod)).and_then(|first| IdRange::starting_at(first.parse().ok()?))
}

/// Notes what a pod has been given, over whatever its template says.
pub fn assign(pod: &mut Pod, range: IdRange) {
    pod.metadata.annotations.get_or_insert_default().insert(USER_NAMESPACE.to_owned(), range.first().to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_whole_rows_and_never_the_hosts_own() {
        for (first, expected) in
            [(65536, Some(65536)), (4_294_836_224, Some(4_294_836_224)), (0, None), (1, None), (65537, None), (4_294_901_760, None)]
        {
            assert_eq!(IdRange::starting_at(first).map(IdRange::first), expected, "{first}");
        }
        assert_eq!(IdRange::nth(0).map(IdRange::first), Some(65536));
        assert_eq!(IdRange::nth(IdRange::COUNT - 1).map(IdRange::first), Some(4_294_836_224));
        assert_eq!(IdRange::nth(IdRange::COUNT), None);
        let range = IdRange::nth(1).unwrap();
        assert_eq!((range.on_host(0), range.on_host(65535), range.on_host(65536)), (Some(131_072), Some(196_607), None));
    }

    #[test]
    fn what_stands_on_a_pod_counts_once_it_is_bound() {
        let mut pod = Pod::default();
        assign(&mut pod, IdRange::nth(0).unwrap());
        let spec = pod.spec.insert(Default::default());
        spec.host_users = Some(false);
        assert_eq!(assigned(&pod), None);
        pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        assert_eq!(assigned(&pod), IdRange::nth(0));
        pod.spec.as_mut().unwrap().host_users = Some(true);
        assert_eq!(assigned(&pod), None);
        pod.spec.as_mut().unwrap().host_users = Some(false);
        for forged in ["0", "x", "70000", "-65536", ""] {
            pod.metadata.annotations.as_mut().unwrap().insert(USER_NAMESPACE.to_owned(), forged.to_owned());
            assert_eq!(assigned(&pod), None, "{forged}");
        }
    }
}
