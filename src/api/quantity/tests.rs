//! Quantities against Kubernetes' documented examples and against big-integer arithmetic done on digit strings.

use k8s_openapi::api::core::v1::PodSpec;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn ok(text: &str) -> Quantity {
    parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn reads_every_suffix() {
    let cases: &[(&str, i64, i64)] = &[
        ("0", 0, 0),
        ("1", 1, 1000),
        ("+3", 3, 3000),
        ("-3", -3, -3000),
        (".5", 1, 500),
        ("5.", 5, 5000),
        ("0.1m", 1, 1),
        ("100m", 1, 100),
        ("1n", 1, 1),
        ("1u", 1, 1),
        ("2k", 2000, 2_000_000),
        ("1M", 1_000_000, 1_000_000_000),
        ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
        ("1Ki", 1024, 1_024_000),
        ("12e6", 12_000_000, 12_000_000_000),
        ("3E3", 3000, 3_000_000),
        ("1e-3", 1, 1),
        ("0.15", 1, 150),
        ("1E", 1_000_000_000_000_000_000, i64::MAX),
        ("1Ei", 1 << 60, i64::MAX),
        ("0.0000000000001Ei", 115_293, 115_292_151),
        ("9223372036854775807", i64::MAX, i64::MAX),
        ("100E", i64::MAX, i64::MAX),
        ("-100Ei", -i64::MAX, i64::MIN),
        ("1e999999", i64::MAX, i64::MAX),
        ("1e-999999", 1, 1),
        ("000000000000000000000000000000000000000000000007", 7, 7000),
    ];
    for (text, value, milli) in cases {
        assert_eq!((ok(text).value(), ok(text).milli_value()), (*value, *milli), "{text}");
    }
}

#[test]
fn refuses_what_kubernetes_refuses() {
    use QuantityError::{Format, Numeric, Suffix};
    let cases = [
        ("", Format),
        (" 1", Format),
        ("1 ", Format),
        ("1.1.1", Numeric),
        ("1Kii", Suffix),
        ("1K", Suffix),
        ("1ki", Suffix),
        ("1mm", Suffix),
        ("1e", Suffix),
        ("Ki", Numeric),
        (".", Numeric),
        ("abc", Format),
        ("--1", Suffix),
        ("1e1.5", Format),
        ("10Gx", Format),
        ("1é", Format),
        ("é", Format),
    ];
    for (text, error) in cases {
        assert_eq!(parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn shows_the_canonical_form() {
    let cases = [
        ("1.5", "1500m"),
        ("1500m", "1500m"),
        ("1000m", "1"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1000", "1k"),
        ("1e3", "1e3"),
        ("1500e3", "1500e3"),
        ("512Ki", "512Ki"),
        ("0.5Ki", "512"),
        ("1000000Ki", "1000000Ki"),
        ("0", "0"),
        ("-1500m", "-1500m"),
        ("1n", "1n"),
        ("12000000", "12M"),
        ("0.0Gi", "0"),
    ];
    for (text, shown) in cases {
        assert_eq!(ok(text).to_string(), shown, "{text}");
    }
}

#[test]
fn pods_ask_for_the_larger_of_their_sum_and_their_init_containers() {
    let spec: PodSpec = serde_json::from_value(json!({
        "containers": [{"name": "a", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "64Mi"}}}, {"name": "b", "resources": {"limits": {"cpu": "200m"}}}],
        "initContainers": [
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}},
            {"name": "i", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}},
        ],
        "overhead": {"cpu": "10m"},
    })).expect("a pod spec");
    let requests = pod_requests(&spec);
    assert_eq!(requests.get("cpu"), Some(&(2000 + 50 + 10)), "the init container beside the sidecar already started");
    assert_eq!(requests.get("memory"), Some(&(64 << 20)), "a limit without a request is the request");
    let limits = pod_limits(&spec);
    assert_eq!((limits.get("cpu"), limits.get("memory")), (Some(&(1200 + 10)), Some(&(64 << 20))), "overhead is added to what is limited");
}

/// `digits` as a big decimal × 2^power, in nanos rounded up, by schoolbook arithmetic on digits: nothing shared with the code under test.
fn reference(whole: &str, fraction: &str, power: u32) -> Option<i128> {
    let mut digits: Vec<u8> = (whole.to_owned() + fraction).bytes().rev().map(|b| b - b'0').collect();
    for _ in 0..power {
        let mut carry = 0;
        for d in &mut digits {
            let doubled = *d * 2 + carry;
            (*d, carry) = (doubled % 10, doubled / 10);
        }
        if carry > 0 {
            digits.push(carry);
        }
    }
    let mut cut = fraction.len();
    while cut < 9 {
        digits.insert(0, 0);
        cut += 1;
    }
    let up = digits[..cut - 9].iter().any(|d| *d != 0);
    let kept: String = digits[cut - 9..].iter().rev().map(|d| (d + b'0') as char).collect();
    kept.trim_start_matches('0')
        .parse::<i128>()
        .or_else(|e| if kept.trim_start_matches('0').is_empty() { Ok(0) } else { Err(e) })
        .ok()
        .map(|n| n + i128::from(up))
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,24}") {
        let _ = parse(&text).map(|q| (q.value(), q.milli_value(), q.to_string()));
    }

    #[test]
    fn never_panics_near_the_grammar(text in "[+-]?[0-9.]{0,40}[eEinumkKMGTP]{0,3}[+-]?[0-9]{0,22}") {
        let _ = parse(&text).map(|q| (q.value(), q.milli_value(), q.to_string()));
    }

    #[test]
    fn agrees_with_schoolbook_arithmetic(whole in "[0-9]{1,18}", fraction in "[0-9]{0,30}", step in 0u32..=6) {
        let text = if step == 0 { format!("{whole}.{fraction}") } else { format!("{whole}.{fraction}{}", BINARY[step as usize - 1]) };
        let expected = reference(&whole, &fraction, step * 10).map_or(CAP, |n| n.min(CAP));
        prop_assert_eq!(ok(&text).nanos, expected, "{}", text);
    }

    #[test]
    fn the_canonical_form_reads_back_equal(n in any::<i32>(), suffix in prop::sample::select(vec!["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "e-2", "u", "n"])) {
        let quantity = ok(&format!("{n}{suffix}"));
        prop_assert_eq!(quantity, ok(&quantity.to_string()));
    }
}
