//! Where a login is for, and whether an image is there: `*.kind.example:5000/team` (keyring.go: Add, URLsMatch, isDefaultRegistryMatch).

/// What the logins of a location are kept under: without scheme, and without Docker's old `/v1/` and `/v2/`. None: no URL.
pub(super) fn key(location: &str) -> Option<String> {
    let rest = location.strip_prefix("https://").or_else(|| location.strip_prefix("http://")).unwrap_or(location);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path };
    let path = if path == "/" { "" } else { path };
    Some(format!("{host}{path}"))
}

/// Whether logins kept under `key` are for this image: as many parts of the host, each matched by its pattern, the same port, and a path
/// that begins so (by letters, not by parts: `/team` is for `/teams/app` too).
pub(super) fn matches(key: &str, image: &str) -> bool {
    let (pattern, target) = (Place::of(key), Place::of(image));
    let (patterns, labels) = (pattern.host.split('.'), target.host.split('.'));
    pattern.port == target.port
        && patterns.clone().count() == labels.clone().count()
        && target.path.starts_with(pattern.path)
        && patterns.zip(labels).all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()) == Some(true))
}

/// Whether the image is Docker Hub's.
pub(super) fn is_default_registry(image: &str) -> bool {
    match image.split_once('/') {
        Some(("docker.io" | "index.docker.io", _)) => true,
        Some((first, _)) => !first.is_empty() && !first.contains(['.', ':']),
        None => !image.is_empty(),
    }
}

struct Place<'a> {
    host: &'a str,
    port: &'a str,
    path: &'a str,
}

impl<'a> Place<'a> {
    fn of(text: &'a str) -> Place<'a> {
        let (authority, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or(rest)),
            None => authority.rsplit_once(':').unwrap_or((authority, "")),
        };
        Place { host, port, path }
    }
}

/// Go's filepath.Match for one part: `*`, `?`, `[a-z]`, `[^a]`, `\x`. None: a pattern that is none, which matches nothing.
fn glob(pattern: &[u8], text: &[u8]) -> Option<bool> {
    // Where to go on when what follows the last star does not match here.
    let (mut p, mut t, mut star) = (0, 0, None::<(usize, usize)>);
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        let step = match (p < pattern.len(), text.get(t)) {
            (true, Some(byte)) => one(&pattern[p..], *byte)?,
            (true, None) => {
                // Only to see whether the rest is a pattern at all.
                one(&pattern[p..], 0)?;
                None
            }
            (false, _) => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, _) => return Some(false),
        }
    }
    Some(true)
}

/// Whether the first thing of a pattern is this byte: its length if so. The outer None: no pattern.
fn one(pattern: &[u8], byte: u8) -> Option<Option<usize>> {
    match pattern {
        [b'?', ..] => Some(Some(1)),
        [b'\\', escaped, ..] => Some((*escaped == byte).then_some(2)),
        [b'\\'] => None,
        [b'[', rest @ ..] => class(rest, byte),
        [first, ..] => Some((*first == byte).then_some(1)),
        [] => Some(None),
    }
}

/// A class, from behind its bracket.
fn class(rest: &[u8], byte: u8) -> Option<Option<usize>> {
    let negated = rest.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let (mut found, mut ranges) = (false, 0);
    loop {
        if rest.get(at)? == &b']' && ranges > 0 {
            return Some((found != negated).then_some(at + 2));
        }
        let low = member(rest, &mut at)?;
        let high = match rest.get(at) {
            Some(b'-') => {
                at += 1;
                member(rest, &mut at)?
            }
            _ => low,
        };
        found |= (low..=high).contains(&byte);
        ranges += 1;
    }
}

fn member(rest: &[u8], at: &mut usize) -> Option<u8> {
    let first = *rest.get(*at)?;
    *at += 1;
    match first {
        b'-' | b']' => None,
        b'\\' => {
            let escaped = *rest.get(*at)?;
            *at += 1;
            Some(escaped)
        }
        other => Some(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_gos() {
        let rows = [
            ("*", "anything", Some(true)),
            ("", "", Some(true)),
            ("a*c", "abbc", Some(true)),
            ("a*c", "abbd", Some(false)),
            ("*b*c", "abxbxc", Some(true)),
            ("?x", "ax", Some(true)),
            ("?", "", Some(false)),
            ("r[0-9]", "r7", Some(true)),
            ("r[^0-9]", "r7", Some(false)),
            (r"a\*", "a*", Some(true)),
            (r"a\*", "ab", Some(false)),
            ("[", "a", None),
            ("[]a]", "a", None),
            ("a\\", "a", None),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn locations_lose_scheme_and_version() {
        let rows = [
            ("https://index.docker.io/v1/", Some("index.docker.io")),
            ("https://index.docker.io", Some("index.docker.io")),
            ("http://r.example:5000/v2/team", Some("r.example:5000/team")),
            ("r.example/", Some("r.example")),
            ("user@r.example/a?b#c", Some("r.example/a")),
            ("", None),
            ("https://", None),
            ("a b", None),
        ];
        for (location, expected) in rows {
            assert_eq!(key(location).as_deref(), expected, "{location}");
        }
    }
}
