//! One line of a CRI log, to and from bytes. Pure.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Most content of one line; longer ones go in pieces (containerd `max_container_log_line_size`).
pub(super) const MAX_CONTENT: usize = 16 * 1024;

/// Which output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }
}

/// A line as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// As text; what cannot be parsed is the reader's to judge.
    pub(super) time: &'a [u8],
    pub(super) stream: Stream,
    /// Not `P`: the line ends here.
    pub(super) full: bool,
    pub(super) content: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Parses a line without its newline; none for what is no CRI line.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let time = parts.next().filter(|time| time.len() >= 20)?;
        let stream = match parts.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        // Tags are separated by `:`; the first tells full or partial (kubelet `parseCRILog`).
        let full = match parts.next()?.split(|&byte| byte == b':').next()? {
            b"F" => true,
            b"P" => false,
            _ => return None,
        };
        Some(Self { time, stream, full, content: parts.next().unwrap_or_default() })
    }

    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

/// Writes times; keeps the part that changes once a second.
#[derive(Default)]
pub(super) struct Stamp {
    second: Option<i64>,
    prefix: Vec<u8>,
}

impl Stamp {
    /// Appends `2006-01-02T15:04:05.000000000Z`.
    pub(super) fn append(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let (second, nanos) = (now.as_second(), now.subsec_nanosecond().unsigned_abs());
        if self.second != Some(second) {
            self.second = Some(second);
            self.prefix = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.").to_string().into_bytes();
        }
        out.extend_from_slice(&self.prefix);
        let mut digits = *b"000000000Z";
        let mut rest = nanos;
        for digit in digits[..9].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_parse() {
        let entry = Entry::parse(b"2016-10-06T00:17:09.669794202Z stdout P a  b ").unwrap();
        assert_eq!((entry.stream, entry.full, entry.content), (Stream::Stdout, false, &b"a  b "[..]));
        assert_eq!(entry.timestamp().unwrap().subsec_nanosecond(), 669_794_202);
        let empty = Entry::parse(b"2016-10-06T00:17:09.669794202Z stderr F ").unwrap();
        assert_eq!((empty.stream, empty.full, empty.content), (Stream::Stderr, true, &b""[..]));
        assert!(Entry::parse(b"2016-10-06T00:17:09.669794202Z stderr F:x").is_some());
        for bad in [&b""[..], b"hello", b"2016-10-06T00:17:09.669794202Z stdin F x", b"2016-10-06T00:17:09.669794202Z stdout X x"] {
            assert_eq!(Entry::parse(bad), None);
        }
    }

    #[test]
    fn times_have_nine_digits() {
        let (mut stamp, mut out) = (Stamp::default(), Vec::new());
        for text in ["2026-11-23T19:01:24.000000007Z", "2026-11-23T19:01:24.999999999Z", "2026-11-23T19:01:25.000000000Z"] {
            out.clear();
            stamp.append(text.parse().unwrap(), &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), text);
        }
    }
}
