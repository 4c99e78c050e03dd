//! `[[NAMESPACE/]POD:]PATH`, and what the paths mean. Pure.

use std::path::{Path, PathBuf};

/// A path in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The path, as it was written.
    pub path: String,
}

/// What is copied where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    /// Into a pod.
    To {
        /// What.
        local: PathBuf,
        /// Where to.
        remote: Remote,
    },
    /// Out of a pod.
    From {
        /// What.
        remote: Remote,
        /// Where to.
        local: PathBuf,
    },
}

enum FileSpec {
    Local(PathBuf),
    Remote(Remote),
}

/// Reads both ends. Errors: kubectl's words.
pub fn parse(source: &str, destination: &str, namespace: &str) -> Result<Copy, String> {
    let (source, destination) = (file_spec(source, namespace)?, file_spec(destination, namespace)?);
    let empty = |spec: &FileSpec| match spec {
        FileSpec::Local(path) => path.as_os_str().is_empty(),
        FileSpec::Remote(remote) => remote.path.is_empty(),
    };
    let any_empty = empty(&source) || empty(&destination);
    match (source, destination) {
        (FileSpec::Remote(_), FileSpec::Remote(_)) => Err("one of src or dest must be a local file specification".to_owned()),
        _ if any_empty => Err("filepath can not be empty".to_owned()),
        (FileSpec::Local(_), FileSpec::Local(_)) => Err("one of src or dest must be a remote file specification".to_owned()),
        (FileSpec::Local(local), FileSpec::Remote(remote)) => Ok(Copy::To { local, remote }),
        (FileSpec::Remote(remote), FileSpec::Local(local)) => Ok(Copy::From { remote, local }),
    }
}

fn file_spec(text: &str, namespace: &str) -> Result<FileSpec, String> {
    let wrong = || "filespec must match the canonical format: [[namespace/]pod:]file/path".to_owned();
    let Some((pod, path)) = text.split_once(':') else { return Ok(FileSpec::Local(text.into())) };
    let (namespace, pod) = pod.split_once('/').unwrap_or((namespace, pod));
    if pod.is_empty() || namespace.is_empty() || pod.contains('/') {
        return Err(wrong());
    }
    Ok(FileSpec::Remote(Remote { namespace: namespace.to_owned(), pod: pod.to_owned(), path: path.to_owned() }))
}

/// The names of a path without what leads nowhere: `.`, empty ones, and `..` with what it takes back. None above the root.
pub fn clean(path: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names
}

/// The names that every member of an archive of this path begins with.
pub fn prefix(path: &str) -> Vec<String> {
    clean(path).into_iter().map(str::to_owned).collect()
}

/// The directory in the container that tar unpacks in, and the name that what is sent gets there.
pub fn placed(path: &str, is_directory: bool, local: &Path) -> Result<(String, String), String> {
    let last =
        |path: &str| path.trim_end_matches('/').rsplit('/').next().filter(|n| !n.is_empty() && *n != "." && *n != "..").map(str::to_owned);
    if is_directory {
        // `dir/..` and `.` have names, too.
        let name = local.file_name().map(std::ffi::OsStr::to_owned).or_else(|| Some(local.canonicalize().ok()?.file_name()?.to_owned()));
        let name = name.and_then(|n| n.into_string().ok());
        return Ok((path.to_owned(), name.ok_or_else(|| format!("{} has no name to copy it under", local.display()))?));
    }
    let name = last(path).ok_or_else(|| format!("{path} is no directory in the container"))?;
    let trimmed = path.trim_end_matches('/');
    let directory = match trimmed.rsplit_once('/') {
        None => ".",
        Some(("", _)) => "/",
        Some((directory, _)) => directory,
    };
    Ok((directory.to_owned(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectls_forms() {
        let remote = |namespace: &str, pod: &str, path: &str| Remote { namespace: namespace.into(), pod: pod.into(), path: path.into() };
        let to = Copy::To { local: "a".into(), remote: remote("default", "p", "/tmp/b") };
        assert_eq!(parse("a", "p:/tmp/b", "default"), Ok(to));
        let from = Copy::From { remote: remote("ns", "p", "b:c"), local: "./x".into() };
        assert_eq!(parse("ns/p:b:c", "./x", "default"), Ok(from));
    }

    #[test]
    fn kubectls_words_for_what_is_none() {
        let why = |source, destination| parse(source, destination, "default").unwrap_err();
        let format = "filespec must match the canonical format: [[namespace/]pod:]file/path";
        for bad in [":x", "a/b/c:x", "/p:x", "a/:x"] {
            assert_eq!(why(bad, "y"), format, "{bad}");
        }
        assert_eq!(why("p:a", "q:b"), "one of src or dest must be a local file specification");
        assert_eq!(why("a", "b"), "one of src or dest must be a remote file specification");
        assert_eq!(why("p:", "b"), "filepath can not be empty");
        assert_eq!(why("", "p:b"), "filepath can not be empty");
    }

    #[test]
    fn members_begin_with_the_path_as_tar_writes_it() {
        for (path, names) in [("/tmp/foo", "tmp/foo"), ("foo/", "foo"), ("./a/../b//c", "b/c"), ("../../etc", "etc"), ("/", ""), (".", "")]
        {
            assert_eq!(prefix(path).join("/"), names, "{path}");
        }
    }

    #[test]
    fn what_is_sent_lands_under_the_destination_or_in_it() {
        let of = |path, is_dir, local: &str| placed(path, is_dir, Path::new(local)).map(|(a, b)| format!("{a} {b}"));
        assert_eq!(of("/tmp/b", false, "x/a"), Ok("/tmp b".into()));
        assert_eq!(of("/b", false, "a"), Ok("/ b".into()));
        assert_eq!(of("b", false, "a"), Ok(". b".into()));
        assert_eq!(of("/tmp/new/", false, "a"), Ok("/tmp new".into()));
        assert_eq!(of("/tmp", true, "x/a"), Ok("/tmp a".into()));
        assert!(of("..", false, "a").is_err());
    }
}
