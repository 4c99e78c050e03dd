//! A Pod's quality of service class (pkg/apis/core/v1/helper/qos/qos.go).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::attempt::containers;

/// `Guaranteed`, `Burstable` or `BestEffort`: from cpu and memory of containers and init containers. Requests default to limits.
pub fn qos_class(pod: &Pod) -> &'static str {
    let whole_pod = pod.spec.as_ref().and_then(|s| s.resources.as_ref()).filter(|r| r.requests.is_some() || r.limits.is_some());
    let all: Vec<Option<&ResourceRequirements>> = match whole_pod {
        Some(resources) => vec![Some(resources)],
        None => containers(pod).map(|(_, c)| c.resources.as_ref()).collect(),
    };
    if all.iter().all(|r| !asks_anything(*r)) {
        "BestEffort"
    } else if all.iter().all(|r| guaranteed(*r)) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

fn asks_anything(resources: Option<&ResourceRequirements>) -> bool {
    let Some(r) = resources else { return false };
    [&r.requests, &r.limits].into_iter().any(|side| ["cpu", "memory"].iter().any(|name| amount(side.as_ref(), name).is_some()))
}

/// Limits for both, and no request that differs from its limit.
fn guaranteed(resources: Option<&ResourceRequirements>) -> bool {
    let Some(r) = resources else { return false };
    ["cpu", "memory"].iter().all(|name| {
        let limit = amount(r.limits.as_ref(), name);
        limit.is_some() && amount(r.requests.as_ref(), name).is_none_or(|request| Some(request) == limit)
    })
}

/// The quantity in thousandths; `None` where absent, zero or unreadable.
fn amount(side: Option<&BTreeMap<String, Quantity>>, name: &str) -> Option<i128> {
    milli(&side?.get(name)?.0).filter(|n| *n != 0)
}

/// Reads a quantity in thousandths, rounded up as Kubernetes does. Enough to compare two.
fn milli(text: &str) -> Option<i128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = i128::from(format!("{whole}{fraction}").parse::<i64>().ok()?);
    let (multiplier, divisor): (i128, i128) = match suffix {
        "" => (1000, 1),
        "m" => (1, 1),
        "u" => (1, 1000),
        "n" => (1, 1_000_000),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        "Ei" => (1000 << 60, 1),
        exponent => (1000 * 10i128.checked_pow(exponent.strip_prefix(['e', 'E'])?.parse::<u32>().ok().filter(|e| *e <= 18)?)?, 1),
    };
    let divisor = divisor.checked_mul(10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let scaled = digits.checked_mul(multiplier)?;
    Some(scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, PodSpec};

    use super::*;

    type Side<'a> = &'a [(&'a str, &'a str)];

    fn container(requests: Side, limits: Side) -> Container {
        let side = |s: Side| Some(s.iter().map(|(k, v)| ((*k).to_owned(), Quantity((*v).to_owned()))).collect());
        let resources = ResourceRequirements { requests: side(requests), limits: side(limits), ..ResourceRequirements::default() };
        Container { resources: Some(resources), ..Container::default() }
    }

    fn class(inits: Vec<Container>, containers: Vec<Container>) -> &'static str {
        qos_class(&Pod { spec: Some(PodSpec { containers, init_containers: Some(inits), ..PodSpec::default() }), ..Pod::default() })
    }

    #[test]
    fn the_three_classes() {
        let both: Side = &[("cpu", "100m"), ("memory", "64Mi")];
        let full = || container(&[], both);
        assert_eq!(class(vec![], vec![Container::default()]), "BestEffort");
        assert_eq!(class(vec![], vec![container(&[("nvidia.com/gpu", "1")], &[])]), "BestEffort");
        assert_eq!(class(vec![], vec![full()]), "Guaranteed");
        assert_eq!(class(vec![], vec![container(both, both)]), "Guaranteed");
        assert_eq!(class(vec![Container::default()], vec![full()]), "Burstable", "init containers count");
        assert_eq!(class(vec![], vec![container(&[("cpu", "50m")], both)]), "Burstable");
        assert_eq!(
            class(vec![], vec![container(&[("cpu", "0.1"), ("memory", "67108864")], both)]),
            "Guaranteed",
            "equal amounts, other spelling"
        );
        assert_eq!(class(vec![], vec![container(&[], &[("cpu", "1")])]), "Burstable");
    }

    #[test]
    fn quantities_in_thousandths() {
        for (text, want) in
            [("1", 1000), ("1.5", 1500), ("100m", 100), ("1Ki", 1_024_000), ("1e3", 1_000_000), ("0.0001", 1), ("2k", 2_000_000)]
        {
            assert_eq!(milli(text), Some(want), "{text}");
        }
        for text in ["", "x", "1..2", "1e99", "9999999999999999999999"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }
}
