//! What the files under /proc, /sys and /etc say. Pure: text in, values out; what is missing or odd gives `None` or nothing.

/// `MemTotal` of /proc/meminfo in bytes.
pub(super) fn mem_total(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, "MemTotal:")?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The first two numbers of `1.6.20~ds1`, `v2.1.9`, `6.1.0-13-amd64`.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim_start_matches('v').split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The rest of the line that starts with `name`.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// A hexadecimal capability mask of /proc/self/status (`CapBnd:`).
pub(super) fn capability_mask(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(status, name)?, 16).ok()
}

/// How many CPUs a list such as `0-3,8` names (/sys/devices/system/cpu/online).
pub(super) fn cpu_count(list: &str) -> Option<u64> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').map(count).try_fold(0_u64, |sum, n| sum.checked_add(n?)).filter(|n| *n > 0)
}

/// The bytes of a page of `hugepages-2048kB`, a directory of /sys/kernel/mm/hugepages.
pub(super) fn page_size(name: &str) -> Option<u64> {
    let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    kib.checked_mul(1024)
}

/// `PRETTY_NAME` of os-release(5), its quotes taken off.
pub(super) fn pretty_name(os_release: &str) -> Option<String> {
    let value = field(os_release, "PRETTY_NAME=")?;
    let unquoted = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
    Some(unquoted.unwrap_or(value).to_owned())
}

/// Go's name for an architecture (`GOARCH`), from Rust's.
pub(super) fn go_arch(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_masks() {
        assert_eq!(mem_total("MemTotal:       49368168 kB\nMemFree: 1 kB\n"), Some(49_368_168 * 1024));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
        let status = "Name:\tx\nCapEff:\t000001fffeffffff\nSeccomp:\t0\n";
        assert_eq!(capability_mask(status, "CapEff:"), Some(0x1ff_feff_ffff));
        assert_eq!(capability_mask(status, "CapBnd:"), None);
        assert_eq!(field(status, "Seccomp:"), Some("0"));
    }

    #[test]
    fn cpu_lists() {
        for (list, count) in [("0-1\n", Some(2)), ("0", Some(1)), ("0-3,8,10-11", Some(7)), ("", None), ("3-1", None), ("x", None)] {
            assert_eq!(cpu_count(list), count, "{list:?}");
        }
    }

    #[test]
    fn os_names() {
        assert_eq!(
            pretty_name("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n").as_deref(),
            Some("Debian GNU/Linux 12 (bookworm)")
        );
        assert_eq!(pretty_name("PRETTY_NAME=Alpine\n").as_deref(), Some("Alpine"));
        assert_eq!(pretty_name(""), None);
        assert_eq!((go_arch("x86_64"), go_arch("aarch64"), go_arch("riscv64")), ("amd64", "arm64", "riscv64"));
    }
}
