//! The table as people read it: each field of a struct as honoured, refused or noted, and how many real manifests set it.
//!
//! The shares stand in `shares.tsv`, counted over the corpus by `make corpus` (which fails when they are out of date). Pure.

use std::fmt::Write as _;

use super::{Row, Status, table};

/// What `make corpus` counted: a line `files <n>`, then struct, field and the number of files that set it.
const SHARES: &str = include_str!("shares.tsv");

/// The structs the README shows.
pub const SHOWN: [&str; 2] = ["PodSpec", "Container"];

/// How many of the counted files set a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Files that set it in at least one document.
    pub files: u32,
    /// Files counted.
    pub of: u32,
}

impl Share {
    /// `12 %`; `< 1 %` for what is there and rounds to nothing; "" for what no file sets.
    pub fn text(self) -> String {
        match (self.files * 200 / self.of.max(1)).div_ceil(2) {
            _ if self.files == 0 => String::new(),
            0 => "< 1 %".to_owned(),
            percent => format!("{percent} %"),
        }
    }
}

/// The share of a field; `None` where nobody counts that struct.
pub fn share(owner: &str, field: &str) -> Option<Share> {
    SHOWN.contains(&owner).then_some(())?;
    let rows = || SHARES.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    let of = rows().find_map(|row| (row.first() == Some(&"files")).then(|| row.get(1)?.parse().ok())?)?;
    let files = rows().find(|row| row[..] == [owner, field, row.last().copied().unwrap_or_default()]);
    Some(Share { files: files.and_then(|row| row.last()?.parse().ok()).unwrap_or(0), of })
}

/// The word for what is done about a field.
fn word(row: &Row) -> &'static str {
    match row.status {
        Status::Honoured => "honoured",
        Status::Refused => "refused",
        Status::Warned | Status::NotApplicable => "noted",
    }
}

/// What the row has to say beside its word.
fn remark(row: &Row) -> String {
    let values = row.except.iter().map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", ");
    let but = if values.is_empty() { String::new() } else { format!("{values} honoured; ") };
    let inner = if row.inner.is_empty() { String::new() } else { format!("see {}", row.inner) };
    if row.reason.is_empty() { inner } else { format!("{but}{}", row.reason) }
}

/// The rows of these structs, each as struct, field, word, share and remark. Errors: a struct that the table does not have.
pub fn rows(owners: &[String]) -> Result<Vec<[String; 5]>, String> {
    let mut found = Vec::new();
    for owner in owners {
        let before = found.len();
        for row in table().iter().filter(|row| row.owner.eq_ignore_ascii_case(owner)) {
            let share = share(row.owner, row.field).map(Share::text).unwrap_or_default();
            found.push([row.owner.to_owned(), row.field.to_owned(), word(row).to_owned(), share, remark(row)]);
        }
        if found.len() == before {
            let mut known: Vec<&str> = table().iter().map(|row| row.owner).collect();
            known.dedup();
            return Err(format!("no type {owner:?} in the table; it has {}", known.join(", ")));
        }
    }
    Ok(found)
}

/// The rows as a Markdown table, as the README has it.
pub fn markdown(rows: &[[String; 5]]) -> String {
    let mut out = "| field | | share | |\n|---|---|---|---|\n".to_owned();
    for [owner, field, word, share, remark] in rows {
        // Into a String: it cannot fail.
        let _ = writeln!(out, "| {owner}.{field} | {word} | {share} | {remark} |");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_and_nothing_is_nothing() {
        let text = |files| Share { files, of: 346 }.text();
        assert_eq!([text(0), text(1), text(2), text(173), text(346)], ["", "< 1 %", "1 %", "50 %", "100 %"]);
    }

    #[test]
    fn every_row_of_a_struct_is_there_and_an_unknown_struct_is_named() {
        let rows = rows(&["podspec".to_owned()]).unwrap();
        assert_eq!(rows.len(), table().iter().filter(|r| r.owner == "PodSpec").count());
        let containers = rows.iter().find(|r| r[1] == "containers").unwrap();
        assert_eq!((containers[2].as_str(), containers[4].as_str()), ("honoured", "see Container"));
        assert!(rows.iter().all(|r| r[2] == "honoured" || !r[4].is_empty()), "what is not honoured says why");
        assert!(super::rows(&["Pod".to_owned()]).unwrap_err().starts_with("no type \"Pod\" in the table; it has DaemonSetSpec, "));
    }

    /// The README's table between its markers is what `minik8s explain -o markdown` prints.
    #[test]
    fn the_readme_has_this_table() {
        let readme = include_str!("../../../README.md");
        let (_, rest) = readme.split_once("<!-- coverage: minik8s explain -o markdown -->\n").expect("the marker");
        let (shown, _) = rest.split_once("<!-- /coverage -->").expect("the second marker");
        let made = markdown(&rows(&SHOWN.map(str::to_owned)).unwrap());
        assert!(shown.trim() == made.trim(), "put this between the README's markers:\n{made}");
    }
}
