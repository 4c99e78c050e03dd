//! Messages of a size that a terminal, a journal and an event can take, whatever a manifest holds.

/// Kubernetes' messages quote the value that is wrong; a file may hold one of ten megabytes.
const MOST: usize = 2000;
const BEGINNING: usize = 1400;
const END: usize = 500;

/// `text` itself, or its beginning and its end with the number of bytes between them.
pub(super) fn shortened(text: String) -> String {
    if text.len() <= MOST {
        return text;
    }
    let boundary = |from: usize| (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (begin, end) = (boundary(BEGINNING), boundary(text.len() - END));
    format!("{} ... ({} bytes are not shown) ... {}", &text[..begin], end - begin, &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_of_what_is_long() {
        assert_eq!(shortened("é".repeat(1000)), "é".repeat(1000));
        let long = shortened(format!("spec.x: Invalid value: \"{}\": must be short", "é".repeat(1_000_000)));
        assert!(long.starts_with("spec.x: Invalid value: \"éé") && long.ends_with("éé\": must be short"), "{long}");
        assert!(long.len() <= MOST && long.contains(" bytes are not shown) ... é"), "{}", long.len());
    }
}
