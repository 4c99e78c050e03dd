//! A driver with bridge, subnet, directories and plugins of its own, and what is asked of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use minik8s::network::{BridgeConfig, CniNetwork, Network, NetworkConfig, SandboxSpec};

/// A driver with everything of its own.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub config: NetworkConfig,
    pub network: CniNetwork,
}

pub fn sh(script: &str) -> String {
    let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

impl Lab {
    /// `number` keeps the tests of this file apart, the process id those of several runs at once.
    pub fn new(number: u8) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        std::fs::create_dir_all(dir.path().join("net.d")).unwrap();
        let config = NetworkConfig {
            run: dir.path().join("run"),
            state: dir.path().join("state"),
            conf_dirs: vec![dir.path().join("net.d")],
            plugin_dirs: vec![dir.path().join("bin"), "/usr/lib/cni".into()],
            plugin_timeout: Duration::from_secs(30),
            foreign_results: dir.path().join("results"),
            bridge: BridgeConfig {
                name: format!("mkt{number}x{pid}"),
                subnet: Some(format!("10.{}.{}.0/24", 200 + number, pid % 256)),
                ipam_dir: dir.path().join("run/ipam"),
            },
        };
        let network = CniNetwork::new(config.clone()).unwrap();
        Lab { dir, config, network }
    }

    /// A shell script as a plugin: it has its standard input in `$in` and the lab's directory in `$lab`, and is logged.
    pub fn plugin(&self, name: &str, script: &str) {
        let bin = self.dir.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let (path, lab) = (bin.join(name), self.dir.path().display().to_string());
        let log = format!("echo \"{name} $CNI_COMMAND netns=$CNI_NETNS\" >>$lab/log");
        let text = format!("#!/bin/sh\nlab={lab}\nin=$(cat)\nprintf '%s' \"$in\" >$lab/{name}.$CNI_COMMAND\n{log}\n{script}\n");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn conflist(&self, file: &str, plugins: &[&str]) {
        let capabilities = serde_json::json!({"portMappings": true});
        let types: Vec<_> = plugins.iter().map(|p| serde_json::json!({"type": p, "capabilities": capabilities})).collect();
        let list = serde_json::json!({"cniVersion": "1.0.0", "name": "lab", "plugins": types});
        std::fs::write(self.dir.path().join("net.d").join(file), list.to_string()).unwrap();
    }

    /// Makes this list the network.
    pub fn list(&self, list: &serde_json::Value) {
        std::fs::write(self.dir.path().join("net.d/10-list.conflist"), list.to_string()).unwrap();
    }

    pub fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn read(&self, file: &str) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.dir.path().join(file)).unwrap()).unwrap()
    }

    pub fn netns(&self, uid: &str) -> PathBuf {
        self.config.run.join("ns").join(uid).join("net")
    }

    /// Nothing may be left.
    pub async fn finish(self) {
        assert_eq!(self.network.list().await.unwrap(), Vec::<String>::new());
        self.network.remove_root().await.unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.dir.path().to_string_lossy()), "{mounts}");
        let bridge = &self.config.bridge.name;
        assert!(!Path::new("/sys/class/net").join(bridge).exists());
        let rules = sh("iptables-save; ip6tables-save 2>/dev/null || true");
        assert!(!rules.contains(bridge.as_str()), "{rules}");
        assert!(!self.config.run.join("ipam").exists());
    }
}

impl Drop for Lab {
    /// What a failed test left.
    fn drop(&mut self) {
        let dir = self.dir.path().display();
        let unmount = format!("grep -o '{dir}[^ ]*' /proc/self/mountinfo | sort -r | while read m; do umount -l \"$m\"; done");
        let script = format!("{unmount}; ip link del {} 2>/dev/null; true", self.config.bridge.name);
        let _ = Command::new("sh").arg("-c").arg(script).status();
    }
}

pub fn spec(uid: &str) -> SandboxSpec {
    SandboxSpec {
        uid: uid.into(),
        namespace: "default".into(),
        name: format!("pod-{uid}"),
        hostname: format!("host-{uid}"),
        host_network: false,
        host_ipc: false,
        share_processes: false,
        ids: None,
        ports: Vec::new(),
        bandwidth: minik8s::network::Bandwidth::default(),
    }
}

pub fn inside(netns: &Path, command: &str) -> String {
    sh(&format!("nsenter --net={} {command}", netns.display()))
}
