//! What a pod asks for: quantities as exact integers, and the sum over a pod's containers (component-helpers/resource PodRequests).
//!
//! Guarantees: amounts are exact thousandths, rounded up as Kubernetes does; a quantity that can't be read counts as nothing (validation refuses
//! it long before). Replaceable by `api::quantity`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Resource name → thousandths of its unit (millicores, milli-bytes).
pub type Amounts = BTreeMap<String, i128>;

/// A quantity in thousandths, rounded up; `None` if it is none or too large to matter.
pub fn amount(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (numerator, denominator) = scale(suffix)?;
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > 20 {
        return None;
    }
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(denominator)?;
    let product = value.checked_mul(numerator)?.checked_mul(1000)?;
    Some(sign * ((product + divisor - 1) / divisor))
}

/// The suffix as a fraction.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let decimal = |power: i32| -> Option<(i128, i128)> {
        let scale = 10i128.checked_pow(power.unsigned_abs())?;
        Some(if power < 0 { (1, scale) } else { (scale, 1) })
    };
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some((1 << 10, 1)),
        "Mi" => Some((1 << 20, 1)),
        "Gi" => Some((1 << 30, 1)),
        "Ti" => Some((1 << 40, 1)),
        "Pi" => Some((1 << 50, 1)),
        "Ei" => Some((1 << 60, 1)),
        _ => decimal(suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|p: &i32| p.abs() <= 18)?),
    }
}

/// What `pod` asks of the node: the sum of its containers and sidecars, or an init container's (with the sidecars before it) where that is more; pod-level
/// requests in their place; plus overhead.
pub fn pod_requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut total = container_requests(spec);
    if let Some(own) = &spec.resources {
        total.extend(requests(own));
    }
    for (name, quantity) in spec.overhead.iter().flatten() {
        *total.entry(name.clone()).or_default() += amount(quantity).unwrap_or(0);
    }
    total
}

fn container_requests(spec: &PodSpec) -> Amounts {
    let of = |c: &Container| c.resources.as_ref().map(requests).unwrap_or_default();
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut at_init) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut here = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &here);
            add(&mut total, &here);
            here = sidecars.clone();
        } else {
            add(&mut here, &sidecars);
        }
        raise(&mut at_init, &here);
    }
    raise(&mut total, &at_init);
    total
}

/// Requests, and limits where a resource has no request (core/v1 defaults).
fn requests(resources: &ResourceRequirements) -> Amounts {
    let both = resources.limits.iter().flatten().chain(resources.requests.iter().flatten());
    both.filter_map(|(name, quantity)| Some((name.clone(), amount(quantity)?))).collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, value) in more {
        *total.entry(name.clone()).or_default() += value;
    }
}

fn raise(total: &mut Amounts, floor: &Amounts) {
    for (name, value) in floor {
        let entry = total.entry(name.clone()).or_default();
        *entry = (*entry).max(*value);
    }
}
