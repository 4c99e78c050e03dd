//! One agent's drivers: the real traits over the shared host.

mod runtime;
mod store;
mod surroundings;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use minik8s::agent::{Drivers, Settings};
use minik8s::clock::Clock;
use minik8s::host::devices::HostDevices;
use minik8s::host::{CgroupDriver, CgroupVersion, HostFacts, Paths};
use minik8s::oci::cdi::SpecFile;
use oci_spec::runtime::LinuxDevice;

use super::world::World;

pub use store::Disk;

/// A driver of one agent's life.
#[derive(Clone)]
pub struct Driver {
    pub world: Arc<World>,
    pub life: u64,
}

/// The drivers of the agent that lives now.
pub fn drivers(world: &Arc<World>, disk: Arc<Disk>) -> Drivers {
    let state = world.state();
    let (life, boot) = (state.life, state.boot);
    drop(state);
    let driver = || Driver { world: world.clone(), life };
    Drivers {
        store: disk,
        runtime: Arc::new(driver()),
        network: Arc::new(driver()),
        volumes: Arc::new(driver()),
        cgroups: Arc::new(driver()),
        devices: Arc::new(NoDevices),
        clock: Arc::new(driver()),
        host: Arc::new(facts(boot)),
        paths: Arc::new(Paths::below(&world.dir)),
        settings: Arc::new(Settings { node_name: "node".into(), labels: BTreeMap::new(), ..Settings::default() }),
    }
}

/// A host with nothing in /dev.
struct NoDevices;

impl HostDevices for NoDevices {
    fn list(&self) -> std::io::Result<Vec<LinuxDevice>> {
        Ok(Vec::new())
    }
    fn node(&self, _: &str) -> std::io::Result<LinuxDevice> {
        Err(std::io::ErrorKind::NotFound.into())
    }
    fn cdi(&self) -> Vec<SpecFile> {
        Vec::new()
    }
}

fn facts(boot: u64) -> HostFacts {
    HostFacts {
        hostname: "node".into(),
        arch: "amd64".into(),
        kernel: "6.1".into(),
        os_image: "Debian".into(),
        machine_id: "m".into(),
        boot_id: format!("boot-{boot}"),
        cpu_millis: 2000,
        memory_bytes: 1 << 30,
        ephemeral_storage_bytes: 1 << 33,
        hugepages: BTreeMap::new(),
        cgroup_version: CgroupVersion::V2,
        cgroup_driver: CgroupDriver::Cgroupfs,
        controllers: vec![],
        min_oom_score_adj: 0,
        sys_resource: false,
        capabilities: vec![],
        apparmor: false,
        selinux: false,
        seccomp: true,
        user_namespaces: Ok(()),
    }
}

#[async_trait]
impl Clock for Driver {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let set = self.world.clock_set.notified();
        let left = at.duration_since(self.world.now());
        let Ok(left) = std::time::Duration::try_from(left) else { return };
        // Cancel-safe; a clock that is set ends it, as a timer of the kernel's does.
        tokio::select! {
            biased;
            () = set => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}
