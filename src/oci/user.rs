//! Who the process is: uid, gid and groups from runAsUser/runAsGroup, the image's User, and the image's `/etc/passwd` and `/etc/group`.
//!
//! Rules: pkg/kubelet/kuberuntime/security_context_linux.go (verifyRunAsNonRoot), pkg/oci/spec_opts.go of containerd (WithUser,
//! WithAdditionalGIDs). Ours: the group of an image's `user:group` is kept; the kubelet drops it and gives gid 0.

use oci_spec::runtime::{User, UserBuilder};

use super::{Inputs, OciError};
use crate::pod::attempt;
use crate::runtime::ImageUsers;

/// The process' user with its groups.
pub(super) fn user(inputs: &Inputs) -> Result<User, OciError> {
    let image_user = inputs.image_config().and_then(|c| c.user().clone()).unwrap_or_default();
    verify_non_root(inputs, &image_user)?;
    let wanted_uid = id(inputs, "runAsUser", |c| c.run_as_user, |p| p.run_as_user)?;
    let wanted_gid = id(inputs, "runAsGroup", |c| c.run_as_group, |p| p.run_as_group)?;
    let (image_name, image_group) = image_user.split_once(':').map_or((image_user.as_str(), None), |(u, g)| (u, Some(g)));

    let entry = match wanted_uid {
        Some(uid) => Account::by_uid(inputs.users, uid),
        None => Account::named(inputs.users, image_name)?,
    };
    let image_gid = match (wanted_uid, image_group) {
        (None, Some(group)) if wanted_gid.is_none() => Some(group_id(inputs.users, group)?),
        _ => None,
    };
    let gid = wanted_gid.or(image_gid).unwrap_or(entry.gid);
    let groups = groups(inputs, gid, &entry)?;
    verify_mapped(inputs, entry.uid, gid, &groups)?;
    let user = UserBuilder::default().uid(entry.uid).gid(gid).additional_gids(groups).build();
    Ok(user.expect("every field of user has a default"))
}

/// A line of `/etc/passwd`, or what stands in where there is none.
struct Account {
    uid: u32,
    gid: u32,
    /// "" where the uid has no name.
    name: String,
}

impl Account {
    /// The account with this uid; without an entry gid 0 and no name, as containerd does.
    fn by_uid(users: &ImageUsers, uid: u32) -> Account {
        passwd(users).find(|a| a.uid == uid).unwrap_or(Account { uid, gid: 0, name: String::new() })
    }

    /// The account an image's User names, by name or number; "" is root.
    fn named(users: &ImageUsers, user: &str) -> Result<Account, OciError> {
        if user.is_empty() {
            return Ok(Account::by_uid(users, 0));
        }
        if let Some(account) = passwd(users).find(|a| a.name == user) {
            return Ok(account);
        }
        let uid = user.parse().map_err(|_| OciError::UnknownUser(user.to_owned()))?;
        Ok(Account::by_uid(users, uid))
    }
}

fn passwd(users: &ImageUsers) -> impl Iterator<Item = Account> + '_ {
    users.passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { uid, gid, name: name.to_owned() })
    })
}

/// `/etc/group` as (name, gid, members).
fn group_lines(users: &ImageUsers) -> impl Iterator<Item = (&str, u32, &str)> + '_ {
    users.group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|n| !n.is_empty() && !n.starts_with('#'))?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn group_id(users: &ImageUsers, group: &str) -> Result<u32, OciError> {
    if let Some((_, gid, _)) = group_lines(users).find(|(name, ..)| *name == group) {
        return Ok(gid);
    }
    group.parse().map_err(|_| OciError::UnknownGroup(group.to_owned()))
}

/// additionalGids: the primary gid (so that it can't be dropped, CVE-2022-36109), the image's groups of the user unless the policy is
/// Strict, fsGroup, supplementalGroups; ascending, each once.
fn groups(inputs: &Inputs, gid: u32, account: &Account) -> Result<Vec<u32>, OciError> {
    let pod = inputs.spec().and_then(|s| s.security_context.as_ref());
    let mut out = vec![gid];
    match pod.and_then(|p| p.supplemental_groups_policy.as_deref()) {
        None | Some("" | "Merge") if !account.name.is_empty() => {
            let member = |members: &str| members.split(',').any(|m| m.trim() == account.name);
            out.extend(group_lines(inputs.users).filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid));
        }
        None | Some("" | "Merge" | "Strict") => {}
        Some(other) => {
            return Err(OciError::invalid("securityContext.supplementalGroupsPolicy", other, "supported values: \"Merge\", \"Strict\""));
        }
    }
    if let Some(pod) = pod {
        let named =
            pod.fs_group.iter().map(|g| ("fsGroup", g)).chain(pod.supplemental_groups.iter().flatten().map(|g| ("supplementalGroups", g)));
        for (field, gid) in named {
            out.push(in_range(field, *gid)?);
        }
    }
    out.sort_unstable();
    out.dedup();
    Ok(out)
}

type Context = k8s_openapi::api::core::v1::SecurityContext;
type PodContext = k8s_openapi::api::core::v1::PodSecurityContext;

/// A field that the container's security context may set over the pod's.
fn effective<T>(inputs: &Inputs, own: impl Fn(&Context) -> Option<T>, pods: impl Fn(&PodContext) -> Option<T>) -> Option<T> {
    let of_container = inputs.container.security_context.as_ref().and_then(own);
    of_container.or_else(|| inputs.spec().and_then(|s| s.security_context.as_ref()).and_then(pods))
}

fn id(
    inputs: &Inputs,
    field: &str,
    own: impl Fn(&Context) -> Option<i64>,
    pods: impl Fn(&PodContext) -> Option<i64>,
) -> Result<Option<u32>, OciError> {
    effective(inputs, own, pods).map(|v| in_range(field, v)).transpose()
}

fn in_range(field: &str, value: i64) -> Result<u32, OciError> {
    u32::try_from(value).map_err(|_| {
        OciError::invalid(format!("securityContext.{field}"), value.to_string(), "must be between 0 and 4294967295, inclusive")
    })
}

/// In a user namespace of the pod's own there are the ids up to 65535 only: the runtime could not become another.
fn verify_mapped(inputs: &Inputs, uid: u32, gid: u32, groups: &[u32]) -> Result<(), OciError> {
    let Some(users) = &inputs.sandbox.user else { return Ok(()) };
    let unmapped = |id: &u32| users.ids.on_host(*id).is_none();
    let said = "must be between 0 and 65535, inclusive, when `hostUsers` is false";
    match (unmapped(&uid), [gid].iter().chain(groups).find(|g| unmapped(g))) {
        (true, _) => Err(OciError::invalid("securityContext.runAsUser", uid.to_string(), said)),
        (_, Some(group)) => Err(OciError::invalid("securityContext: the process' groups", group.to_string(), said)),
        _ => Ok(()),
    }
}

/// The kubelet's verdict on runAsNonRoot.
fn verify_non_root(inputs: &Inputs, image_user: &str) -> Result<(), OciError> {
    if effective(inputs, |c| c.run_as_non_root, |p| p.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let (pod, container) = (attempt::format_pod(inputs.pod), inputs.container.name.clone());
    match effective(inputs, |c| c.run_as_user, |p| p.run_as_user) {
        Some(0) => return Err(OciError::RunAsUserIsRoot { pod, container }),
        Some(_) => return Ok(()),
        None => {}
    }
    let name = image_user.split(':').next().unwrap_or_default();
    match name.parse::<u32>() {
        Ok(0) => Err(OciError::ImageRunsAsRoot { pod, container }),
        Ok(_) => Ok(()),
        Err(_) if name.is_empty() => Err(OciError::ImageRunsAsRoot { pod, container }),
        Err(_) => Err(OciError::NonNumericUser { user: name.to_owned(), pod, container }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::build;
    use super::super::testing::Case;
    use super::user;

    fn who(container: &str, pod: &str, image_user: &str) -> Result<(u32, u32, Vec<u32>), String> {
        let case = Case::new(container).pod(pod).image(&format!(r#"{{"Cmd": ["x"], "User": "{image_user}"}}"#));
        let spec = build(&case.inputs()).map_err(|e| e.to_string())?;
        let user = spec.process().as_ref().unwrap().user().clone();
        Ok((user.uid(), user.gid(), user.additional_gids().clone().unwrap_or_default()))
    }

    // The passwd and group of testing.rs: root, www (33:33; in groups audio 29 and video 44), app (1000:1001).
    #[test]
    fn users_and_groups() {
        for (container, pod, image, uid, gid, groups) in [
            ("{}", "{}", "", 0, 0, vec![0, 6]),
            ("{}", "{}", "www", 33, 33, vec![29, 33, 44]),
            ("{}", "{}", "33", 33, 33, vec![29, 33, 44]),
            ("{}", "{}", "www:audio", 33, 29, vec![29, 44]),
            ("{}", "{}", "www:7", 33, 7, vec![7, 29, 44]),
            ("{}", "{}", "4242", 4242, 0, vec![0]),
            ("{securityContext: {runAsUser: 1000}}", "{}", "www:audio", 1000, 1001, vec![1001]),
            ("{securityContext: {runAsUser: 65534}}", "{}", "", 65534, 0, vec![0]),
            ("{securityContext: {runAsUser: 4294967294}}", "{}", "", 4_294_967_294, 0, vec![0]),
            ("{securityContext: {runAsUser: 65534, runAsGroup: 65534}}", "{}", "", 65534, 65534, vec![65534]),
            ("{securityContext: {runAsGroup: 5}}", "{}", "www", 33, 5, vec![5, 29, 44]),
            ("{}", "{securityContext: {runAsUser: 1000, runAsGroup: 9}}", "", 1000, 9, vec![9]),
            ("{securityContext: {runAsUser: 0}}", "{securityContext: {runAsUser: 1000}}", "www", 0, 0, vec![0, 6]),
            ("{}", "{securityContext: {fsGroup: 50, supplementalGroups: [40, 33, 40]}}", "www", 33, 33, vec![29, 33, 40, 44, 50]),
            ("{}", "{securityContext: {supplementalGroupsPolicy: Strict, supplementalGroups: [40]}}", "www", 33, 33, vec![33, 40]),
        ] {
            assert_eq!(who(container, pod, image), Ok((uid, gid, groups)), "{container} {pod} {image}");
        }
    }

    #[test]
    fn run_as_non_root_speaks_as_the_kubelet() {
        let non_root = "{securityContext: {runAsNonRoot: true}}";
        let suffix = "(pod: \"web_shop(u-1)\", container: main)";
        for (container, image, expected) in [
            (non_root, "1000", None),
            (non_root, "1000:0", None),
            (non_root, "", Some(format!("container has runAsNonRoot and image will run as root {suffix}"))),
            (non_root, "0:0", Some(format!("container has runAsNonRoot and image will run as root {suffix}"))),
            (
                non_root,
                "www",
                Some(format!("container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root {suffix}")),
            ),
            (
                "{securityContext: {runAsNonRoot: true, runAsUser: 0}}",
                "1000",
                Some(format!("container's runAsUser breaks non-root policy {suffix}")),
            ),
            ("{securityContext: {runAsNonRoot: true, runAsUser: 7}}", "", None),
            ("{securityContext: {runAsNonRoot: false}}", "", None),
        ] {
            assert_eq!(who(container, "{}", image).err(), expected, "{container} {image}");
        }
        assert!(who("{securityContext: {runAsNonRoot: false}}", "{securityContext: {runAsNonRoot: true}}", "").is_ok());
    }

    #[test]
    fn a_user_namespace_has_65536_ids() {
        let who = |container: &str, image: &str| {
            user(&Case::new(container).image(&format!(r#"{{"User": "{image}"}}"#)).own_users().inputs())
                .map_err(|e| e.to_string())
                .map(drop)
        };
        let said = |field: &str, id: u32| {
            Err(format!(
                "securityContext{field}: Invalid value: \"{id}\": must be between 0 and 65535, inclusive, when `hostUsers` is false"
            ))
        };
        assert_eq!(who("{securityContext: {runAsUser: 65535, runAsGroup: 65535}}", ""), Ok(()));
        assert_eq!(who("{securityContext: {runAsUser: 65536}}", ""), said(".runAsUser", 65536));
        assert_eq!(who("{}", "100000"), said(".runAsUser", 100_000));
        assert_eq!(who("{securityContext: {runAsGroup: 65536}}", ""), said(": the process' groups", 65536));
        let case = Case::new("{}").own_users().pod("{securityContext: {fsGroup: 70000}}");
        assert_eq!(user(&case.inputs()).map(drop).map_err(|e| e.to_string()), said(": the process' groups", 70_000));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        assert_eq!(who("{}", "{}", "ghost").unwrap_err(), "unable to find user ghost: no matching entries in passwd file");
        assert_eq!(who("{}", "{}", "www:ghost").unwrap_err(), "unable to find group ghost: no matching entries in group file");
        assert!(who("{securityContext: {runAsUser: -1}}", "{}", "").unwrap_err().contains("must be between 0 and 4294967295"));
    }
}
