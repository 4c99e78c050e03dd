//! Bytes → text that YAML may be read from, or why not.

use crate::api::yaml::{MAX_FILE, Place};

/// Where a file begins.
const BEGIN: Place = Place { line: 1, column: 1, offset: 0 };

/// The text without its byte order mark and where it begins; or the place and the reason why it can't be read.
pub(super) fn checked(bytes: &[u8]) -> Result<(&str, Place), (Place, String)> {
    if bytes.len() > MAX_FILE {
        return Err((BEGIN, format!("the file has {} bytes: more than {MAX_FILE} are not read; split it", bytes.len())));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((BEGIN, "the file looks like UTF-16: save it as UTF-8".to_owned()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        (end_of(good), format!("byte 0x{:02x} is not UTF-8: is this a text file?", bytes[error.valid_up_to()]))
    })?;
    let (text, at) = match text.strip_prefix('\u{feff}') {
        Some(rest) => (rest, Place { offset: '\u{feff}'.len_utf8(), ..BEGIN }),
        None => (text, BEGIN),
    };
    match text.char_indices().find(|(_, c)| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\x7f')) {
        Some((i, c)) => Err((end_of(&text[..i]), format!("control character U+{:04X} is not allowed: is this a text file?", u32::from(c)))),
        None => Ok((text, at)),
    }
}

/// The place right behind `text`.
fn end_of(text: &str) -> Place {
    let line_begin = text.rfind('\n').map_or(0, |i| i + 1);
    Place { line: text.matches('\n').count() + 1, column: text[line_begin..].chars().count() + 1, offset: text.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_before_it_is_parsed() {
        let place = |bytes: &[u8]| checked(bytes).map_err(|(p, m)| (p.line, p.column, m)).map(|(t, at)| (t.to_owned(), at.offset));
        assert_eq!(place(b"\xef\xbb\xbfa: 1"), Ok(("a: 1".to_owned(), 3)));
        assert_eq!(place("a: é\nb: \u{0}".as_bytes()).map_err(|e| (e.0, e.1)), Err((2, 4)));
        assert_eq!(place(b"a: 1\nb: x\xff").map_err(|e| e.2), Err("byte 0xff is not UTF-8: is this a text file?".to_owned()));
        assert!(place(b"\xff\xfea\x00").is_err_and(|e| e.2.contains("UTF-16")));
        assert!(place(&vec![b'a'; MAX_FILE + 1]).is_err());
    }
}
