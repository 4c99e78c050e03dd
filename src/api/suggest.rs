//! Did-you-mean: the known name nearest to what was written.

/// The candidate nearest to `written`, if one is near enough to have been meant: the same letters but for case, `-` and `_`; else
/// the fewest edits (insert, delete, replace, swap), at most one in three letters and never more than three.
pub fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if written.len() > 100 {
        return None;
    }
    let plain = letters(written);
    let allowed = (plain.chars().count() / 3).clamp(1, 3);
    let scored = candidates.into_iter().map(|c| (distance(&plain, &letters(c)), c));
    scored.filter(|(d, c)| *d <= allowed && *d < c.chars().count()).min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// Whether two names differ in case, `-` and `_` at most.
pub fn same(a: &str, b: &str) -> bool {
    a.len().abs_diff(b.len()) < 10 && letters(a) == letters(b)
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| *c != '-' && *c != '_').flat_map(char::to_lowercase).collect()
}

/// Optimal string alignment: Levenshtein with swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.chars().collect::<Vec<_>>(), b.chars().collect::<Vec<_>>());
    let mut before = vec![0; b.len() + 1];
    let mut last = (0..=b.len()).collect::<Vec<_>>();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        let known = ["restartPolicy", "containers", "image", "imagePullPolicy", "env", "name"];
        for (written, meant) in [("restartpolicy", "restartPolicy"), ("restart_policy", "restartPolicy"), ("contianers", "containers")] {
            assert_eq!(nearest(written, known), Some(meant));
        }
        assert_eq!(nearest("imagee", known), Some("image"));
        assert_eq!(nearest("container", known), Some("containers"));
        assert_eq!(nearest("replicas", known), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
