//! The `binary://` address of a container's log, which makes the shim start `<binary> minik8s-logger <config>`.
//!
//! The shim turns the query into arguments in Go's random map order, so there is exactly one key.

use std::path::Path;

use crate::logs::{LOGGER_ARGUMENT, LoggerConfig};
use crate::runtime::LogTarget;

/// `binary:///usr/bin/minik8s?minik8s-logger=<config>`. `owner`: whose the pipes are to be, if not root's.
pub(super) fn logger_uri(binary: &Path, log: &LogTarget, owner: Option<u32>) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let config = LoggerConfig { path: log.path.clone(), max_bytes: log.max_bytes, max_files: log.max_files, owner };
    let mut uri = String::from("binary://");
    escape(binary.as_os_str().as_bytes(), &mut uri);
    uri.push('?');
    uri.push_str(LOGGER_ARGUMENT);
    uri.push('=');
    escape(config.to_argument().as_bytes(), &mut uri);
    uri
}

/// RFC 3986: everything but unreserved characters and `/` as `%XX`.
fn escape(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_unreserved_is_escaped() {
        let log = LogTarget { path: "/var/log/a b+c&d=é/0.log".into(), max_bytes: 10, max_files: 5 };
        assert_eq!(
            logger_uri(Path::new("/opt/mini k8s"), &log, None),
            "binary:///opt/mini%20k8s?minik8s-logger=10%2C5%2C/var/log/a%20b%2Bc%26d%3D%C3%A9/0.log"
        );
    }
}
