//! Protobuf timestamps to ours and back.

use jiff::Timestamp;

/// Our instant; none for an absent or impossible one.
pub(crate) fn from_proto(stamp: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let stamp = stamp?;
    // Go's zero time is the year 1, which is how containerd writes "not yet".
    if stamp.seconds <= 0 {
        return None;
    }
    Timestamp::new(stamp.seconds, stamp.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_zero_time_is_none() {
        assert_eq!(from_proto(None), None);
        assert_eq!(from_proto(Some(&prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 })), None);
        let stamp = prost_types::Timestamp { seconds: 1, nanos: 5 };
        assert_eq!(from_proto(Some(&stamp)).map(|t| t.as_nanosecond()), Some(1_000_000_005));
    }
}
