//! Specs made by `oci::build` run by the real runc: what the spec promises holds inside the container.
//!
//! Each test has its own bundle, runc state and cgroup, and leaves none behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::api::core::v1::{Node, Pod};
use minik8s::config::Objects;
use minik8s::host::{CgroupDriver, CgroupVersion, HostFacts, devices};
use minik8s::network::{Namespace, Sandbox};
use minik8s::oci::{Inputs, OciError, build, grant_host_devices, wants_host_devices};
use minik8s::runtime::ImageUsers;
use minik8s::volumes::PodFiles;
use oci_spec::runtime::{Capabilities, Spec};
use serde_json::{Value, json};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A bundle with busybox as its root, pinned namespaces, and a place for pod files.
struct Bundle {
    dir: tempfile::TempDir,
    id: String,
    cgroup: String,
    seccomp_profile: Option<String>,
}

/// What a container said and how it ended; `err` is shown where an assertion fails.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    #[allow(dead_code)]
    err: String,
}

fn sh(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().expect("the command can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
}

impl Bundle {
    fn new() -> Bundle {
        let dir = tempfile::Builder::new().prefix("minik8s-oci-").tempdir().expect("a temporary directory");
        let id = format!("minik8s-oci-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let bundle = Bundle { cgroup: format!("/{id}"), id, dir, seccomp_profile: None };
        for part in ["bundle/rootfs/bin", "bundle/rootfs/etc", "bundle/rootfs/tmp", "files/shm", "files/vol", "ns"] {
            fs::create_dir_all(bundle.path(part)).expect("a directory");
        }
        fs::copy("/bin/busybox", bundle.path("bundle/rootfs/bin/busybox")).expect("busybox-static is installed");
        let install = sh(Command::new("chroot").arg(bundle.path("bundle/rootfs")).args(["/bin/busybox", "--install", "-s", "/bin"]));
        assert_eq!(install.code, 0, "{install:?}");
        for file in ["files/hosts", "files/hostname", "files/resolv.conf", "files/log", "ns/net", "ns/ipc", "ns/uts"] {
            fs::write(bundle.path(file), "from the agent\n").expect("a file");
        }
        let at = |kind: &str| format!("--{kind}={}", bundle.path(&format!("ns/{kind}")).display());
        let made = sh(Command::new("unshare").args([at("net"), at("ipc"), at("uts")]).arg("true"));
        assert_eq!(made.code, 0, "{made:?}");
        bundle
    }

    fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    /// The spec of a container with these fields (YAML) that runs `script`.
    fn spec(&self, container: &str, script: &str) -> Result<Spec, OciError> {
        let mut value: Value = serde_saphyr::from_str(container).expect("YAML");
        let fields = value.as_object_mut().expect("a mapping");
        fields.insert("name".to_owned(), json!("main"));
        fields.insert("command".to_owned(), json!(["/bin/sh", "-c", script]));
        let pod = json!({"metadata": {"name": "web", "namespace": "shop", "uid": self.id}, "spec": {"containers": [value]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let pinned = |kind: &str| Namespace::Pinned(self.path(&format!("ns/{kind}")));
        let file = |name: &str| Some(self.path(&format!("files/{name}")));
        let container = &pod.spec.as_ref().expect("has a spec").containers[0];
        let mut spec = build(&Inputs {
            pod: &pod,
            container,
            image: &serde_json::from_value(json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}))
                .expect("an image"),
            users: &ImageUsers::default(),
            files: &PodFiles {
                dir: self.path("files"),
                volumes: [("vol".to_owned(), self.path("files/vol"))].into(),
                hosts: file("hosts"),
                hostname: file("hostname"),
                resolv_conf: file("resolv.conf"),
                shm: file("shm"),
                ..PodFiles::default()
            },
            sandbox: &Sandbox { network: pinned("net"), uts: pinned("uts"), ipc: pinned("ipc"), pid: None, user: None },
            host: &host(),
            cgroups_path: self.cgroup.clone(),
            termination_log: file("log"),
            pod_ips: &[],
            host_ips: &[],
            node: &Node::default(),
            config: &Objects::default(),
            sub_paths: BTreeMap::new(),
            seccomp_profile: self.seccomp_profile.clone(),
            is_init: false,
        })?;
        if wants_host_devices(container) {
            grant_host_devices(&mut spec, devices::list(Path::new("/dev")).expect("/dev can be read"));
        }
        Ok(spec)
    }

    /// Runs a container to its end.
    fn run(&self, container: &str, script: &str) -> Ran {
        let spec = self.spec(container, script).expect("a spec");
        spec.save(self.path("bundle/config.json")).expect("config.json is written");
        sh(Command::new("runc").arg("--root").arg(self.path("runc")).args(["run", "--bundle"]).arg(self.path("bundle")).arg(&self.id))
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        sh(Command::new("runc").arg("--root").arg(self.path("runc")).args(["delete", "--force"]).arg(&self.id));
        for kind in ["net", "ipc", "uts"] {
            sh(Command::new("umount").arg(self.path(&format!("ns/{kind}"))));
        }
    }
}

/// This machine, as far as the specs ask.
fn host() -> HostFacts {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    HostFacts {
        hostname: "node1".to_owned(),
        arch: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel").trim().to_owned(),
        os_image: String::new(),
        machine_id: String::new(),
        boot_id: String::new(),
        cpu_millis: 2000,
        memory_bytes: 4 << 30,
        ephemeral_storage_bytes: 0,
        hugepages: BTreeMap::new(),
        cgroup_version: if v2 { CgroupVersion::V2 } else { CgroupVersion::V1 },
        cgroup_driver: CgroupDriver::Cgroupfs,
        controllers: Vec::new(),
        min_oom_score_adj: fs::read_to_string("/proc/self/oom_score_adj").expect("a score").trim().parse().expect("a number"),
        sys_resource: false,
        capabilities: bounding().0.iter().map(|c| format!("CAP_{c}")).collect(),
        apparmor: false,
        selinux: false,
        seccomp: true,
        user_namespaces: Ok(()),
    }
}

/// This process' bounding set, as names and as the kernel's mask.
fn bounding() -> (Capabilities, String) {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let mask = status.lines().find_map(|l| l.strip_prefix("CapBnd:")).expect("a bounding set").trim().to_owned();
    let bits = u64::from_str_radix(&mask, 16).expect("hexadecimal");
    let names = NAMES.split_ascii_whitespace().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
    (names.map(|(_, name)| name.parse().expect("a capability")).collect(), mask)
}

/// Capabilities by bit (linux/capability.h).
const NAMES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
    NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
    CHECKPOINT_RESTORE";

/// Runs `script` with fields `container` and asserts that it says `expected` and ends with 0.
fn says(container: &str, script: &str, expected: &[&str]) {
    let ran = Bundle::new().run(container, script);
    assert_eq!((ran.out.lines().collect::<Vec<_>>(), ran.code), (expected.to_vec(), 0), "{ran:?}");
}

const STATUS: &str = "grep -E '^(CapBnd|CapEff|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t'";

#[test]
fn default_container() {
    let script = format!(
        "{STATUS}; hostname; id -u; cat /etc/hosts; echo why >/dev/termination-log; touch /dev/shm/x && echo shm; \
         touch /sys/x 2>/dev/null || echo sys; echo 1 2>/dev/null >/proc/sys/vm/drop_caches || echo proc; head -c1 /proc/kcore 2>/dev/null | wc -c; \
         ls /dev | grep -v '^core$' | tr '\\n' ' '; cat /proc/self/oom_score_adj; ls /sys/class/net"
    );
    let bundle = Bundle::new();
    let ran = bundle.run("{env: [{name: A, value: b}], workingDir: /tmp}", &format!("{script}; pwd; echo $A $HOSTNAME"));
    let expected = [
        "CapEff:00000000a80425fb",
        "CapBnd:00000000a80425fb",
        "CapAmb:0000000000000000",
        "NoNewPrivs:0",
        "Seccomp:0",
        "web",
        "0",
        "from the agent",
        "shm",
        "sys",
        "proc",
        "0",
        "fd full mqueue null ptmx pts random shm stderr stdin stdout termination-log tty urandom zero 1000",
        "lo",
        "/tmp",
        "b web",
    ];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), expected, "{ran:?}");
    assert_eq!(fs::read_to_string(bundle.path("files/log")).expect("a message"), "why\n");
    assert!(bundle.path("files/shm/x").exists());
}

#[test]
fn privileged_has_all_capabilities_devices_and_mounts() {
    let mask = bounding().1;
    let script = "grep CapBnd /proc/self/status | cut -f2; mount -t tmpfs none /tmp && echo mounted; test -w /proc/sys/vm && echo proc; \
                  mknod /tmp/null c 1 3 && echo >/tmp/null && echo device; find /dev -type c -o -type b | grep -v /dev/pts/ | sort";
    let ran = Bundle::new().run("{securityContext: {privileged: true}}", script);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.get(..4), Some(&[mask.as_str(), "mounted", "proc", "device"][..]), "{ran:?}");
    for device in devices::list(Path::new("/dev")).expect("/dev can be read").iter().filter(|d| d.path() != Path::new("/dev/ptmx")) {
        assert!(lines.contains(&device.path().to_str().expect("UTF-8")), "{:?} {ran:?}", device.path());
    }
}

#[test]
fn read_only_root() {
    says(
        "{securityContext: {readOnlyRootFilesystem: true}}",
        "touch /tmp/x 2>&1; touch /etc/hosts 2>&1; touch /dev/shm/x && echo shm",
        &["touch: /tmp/x: Read-only file system", "touch: /etc/hosts: Read-only file system", "shm"],
    );
}

#[test]
fn a_user_that_is_not_root_has_no_effective_capabilities() {
    let script = format!("id -u; id -g; id -G; {STATUS}");
    says(
        "{securityContext: {runAsUser: 65534, runAsGroup: 65533, allowPrivilegeEscalation: false}}",
        &script,
        &[
            "65534",
            "65533",
            "65533",
            "CapEff:0000000000000000",
            "CapBnd:00000000a80425fb",
            "CapAmb:0000000000000000",
            "NoNewPrivs:1",
            "Seccomp:0",
        ],
    );
}

#[test]
fn dropping_all_leaves_none_and_adding_gives_one() {
    let script = "grep -E '^Cap(Bnd|Eff):' /proc/self/status | cut -f2; chown 1:1 /tmp 2>&1 || true";
    says(
        "{securityContext: {capabilities: {drop: [ALL]}}}",
        script,
        &["0000000000000000", "0000000000000000", "chown: /tmp: Operation not permitted"],
    );
    says("{securityContext: {capabilities: {drop: [ALL], add: [CHOWN]}}}", script, &["0000000000000001", "0000000000000001"]);
}

/// Without the profile the same calls work, so that it is the profile that denies them.
#[test]
fn the_default_seccomp_profile_denies_new_namespaces() {
    let script = "grep '^Seccomp:' /proc/self/status | cut -f2; unshare -U true 2>/dev/null && echo unshared; echo hello | cat; (sleep 0.01 & wait) && echo forked";
    says("{}", script, &["0", "unshared", "hello", "forked"]);
    says("{securityContext: {seccompProfile: {type: RuntimeDefault}}}", script, &["2", "hello", "forked"]);
    let mount = "mount -t tmpfs none /tmp 2>/dev/null && echo mounted || echo denied";
    says("{securityContext: {seccompProfile: {type: RuntimeDefault}}}", mount, &["denied"]);
    says("{securityContext: {capabilities: {add: [SYS_ADMIN]}, seccompProfile: {type: RuntimeDefault}}}", mount, &["mounted"]);
}

#[test]
fn a_localhost_seccomp_profile_is_in_force_by_its_conditions() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_AARCH64"}],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
    let context = |more: &str| format!("{{securityContext: {{seccompProfile: {{type: Localhost, localhostProfile: p.json}}, {more}}}}}");
    let script = "grep '^Seccomp:' /proc/self/status | cut -f2; mkdir /tmp/d 2>&1; ln -s x /tmp/l 2>&1 && echo linked";
    let run = |more: &str| {
        let mut bundle = Bundle::new();
        bundle.seccomp_profile = Some(profile.to_owned());
        bundle.run(&context(more), script).out
    };
    let refused = "2\nmkdir: can't create directory '/tmp/d': No space left on device\n";
    assert_eq!(run("capabilities: {}"), format!("{refused}linked\n"));
    assert_eq!(run("capabilities: {add: [SYS_ADMIN]}"), format!("{refused}ln: /tmp/l: Operation not permitted\n"));
    assert_eq!(run("privileged: true"), "0\nlinked\n", "as CRI: privileged is not confined");
    let mut broken = Bundle::new();
    assert!(matches!(broken.spec(&context(""), "true"), Err(OciError::SeccompProfile(..))));
    broken.seccomp_profile = Some("{}".to_owned());
    assert!(matches!(broken.spec(&context(""), "true"), Err(OciError::SeccompProfile(..))));
}

#[test]
fn cgroup_limits_are_in_force() {
    let v2 = host().cgroup_version == CgroupVersion::V2;
    let (script, expected) = if v2 {
        ("cd /sys/fs/cgroup; cat memory.max cpu.max cpu.weight memory.oom.group", vec!["67108864", "50000 100000", "4", "1"])
    } else {
        (
            "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares",
            vec!["67108864", "50000", "100000", "102"],
        )
    };
    says("{resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 100m}}}", script, &expected);
    let ran = Bundle::new().run("{resources: {limits: {memory: 16Mi}}}", "exec tail /dev/zero");
    assert_eq!(ran.code, 137, "{ran:?}");
}

#[test]
fn volumes_with_their_access() {
    let bundle = Bundle::new();
    fs::write(bundle.path("files/vol/data"), "kept\n").expect("a file");
    let mounts = "[{name: vol, mountPath: /rw}, {name: vol, mountPath: /deep/er/ro, readOnly: true}, {name: vol, mountPath: /rro, readOnly: true, recursiveReadOnly: Enabled}]";
    let ran = bundle.run(
        &format!("{{volumeMounts: {mounts}}}"),
        "cat /rw/data; echo more >>/rw/data && echo written; for d in /deep/er/ro /rro; do touch $d/x 2>/dev/null || echo $d is read-only; done; cat /rro/data",
    );
    assert_eq!(ran.out, "kept\nwritten\n/deep/er/ro is read-only\n/rro is read-only\nkept\nmore\n", "{ran:?}");
}

#[test]
fn what_cannot_be_honoured_does_not_run() {
    let bundle = Bundle::new();
    assert!(bundle.spec("{securityContext: {appArmorProfile: {type: RuntimeDefault}}}", "true").is_err());
    assert!(bundle.spec("{securityContext: {runAsNonRoot: true}}", "true").is_err());
}
