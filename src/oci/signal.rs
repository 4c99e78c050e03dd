//! The signal that asks a container to stop: lifecycle.stopSignal, else the image's StopSignal, else SIGTERM.

use k8s_openapi::api::core::v1::Container;
use oci_spec::image::ImageConfiguration;

const SIGTERM: i32 = 15;
/// Linux' numbers on x86 and ARM, by the names without SIG.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// The signal's number. A signal nobody knows counts as unset.
pub fn stop_signal(container: &Container, image: &ImageConfiguration) -> i32 {
    let own = container.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref());
    let image = || image.config().as_ref().and_then(|c| c.stop_signal().as_deref());
    own.and_then(number).or_else(|| image().and_then(number)).unwrap_or(SIGTERM)
}

/// `SIGUSR1`, `usr1`, `10`, `SIGRTMIN+3`, `RTMAX-1`.
fn number(text: &str) -> Option<i32> {
    let upper = text.trim().to_ascii_uppercase();
    if let Ok(n) = upper.parse::<i32>() {
        return (1..=RTMAX).contains(&n).then_some(n);
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, n)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*n);
    }
    let offset = |rest: &str, sign: char| if rest.is_empty() { Some(0) } else { rest.strip_prefix(sign)?.parse::<i32>().ok() };
    let n = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => RTMIN.checked_add(offset(rest, '+')?)?,
        (_, Some(rest)) => RTMAX.checked_sub(offset(rest, '-')?)?,
        _ => return None,
    };
    (RTMIN..=RTMAX).contains(&n).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Case, image};
    use super::stop_signal;

    #[test]
    fn manifest_then_image_then_term() {
        for (container, image_config, expected) in [
            ("{}", "{}", 15),
            ("{}", r#"{"StopSignal": "SIGQUIT"}"#, 3),
            ("{}", r#"{"StopSignal": "3"}"#, 3),
            ("{}", r#"{"StopSignal": "SIGRTMIN+3"}"#, 37),
            ("{}", r#"{"StopSignal": "RTMAX-1"}"#, 63),
            ("{}", r#"{"StopSignal": "SIGRTMIN+99"}"#, 15),
            ("{}", r#"{"StopSignal": "999"}"#, 15),
            ("{}", r#"{"StopSignal": "hello"}"#, 15),
            ("{lifecycle: {stopSignal: SIGUSR1}}", r#"{"StopSignal": "SIGQUIT"}"#, 10),
            ("{lifecycle: {stopSignal: usr2}}", "{}", 12),
        ] {
            assert_eq!(stop_signal(Case::new(container).container(), &image(image_config)), expected, "{container} {image_config}");
        }
    }
}
