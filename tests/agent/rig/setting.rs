//! What a test may set up beside the usual: a small state disk, thresholds, images.

use super::{Rig, run};
use crate::lab::image::OciImage;

impl Rig {
    /// As `new`, with the state directory on a tmpfs of 6 MiB.
    pub fn with_small_state() -> Rig {
        Rig::with(|rig| {
            run("mount", &["-t", "tmpfs", "-o", "size=6m", "tmpfs", rig.path("state").to_str().unwrap()]);
            Vec::new()
        })
    }

    /// As `new`, with containerd's data on a tmpfs of so many MiB.
    pub fn with_small_images(mebibytes: u32) -> Rig {
        let mut rig = Rig::prepare();
        rig.kill_containerd();
        let root = rig.lab.dir.join("root");
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs", root.to_str().unwrap()]);
        rig.start_containerd();
        let name = "docker.io/library/busybox:latest";
        rig.import(&OciImage::busybox(), name);
        rig.start_agent();
        rig
    }

    /// Gives that tmpfs another size.
    pub fn resize_images(&self, mebibytes: u32) {
        run("mount", &["-o", &format!("remount,size={mebibytes}m"), self.lab.dir.join("root").to_str().unwrap()]);
    }

    /// As `with_small_state`, where pods are evicted when so little is left.
    pub fn with_small_state_and_thresholds(eviction_hard: &str) -> Rig {
        let mut rig = Rig::prepare();
        eviction_hard.clone_into(&mut rig.eviction_hard);
        run("mount", &["-t", "tmpfs", "-o", "size=16m", "tmpfs", rig.path("state").to_str().unwrap()]);
        rig.start_agent();
        rig
    }

    /// Brings an image into containerd under a name, for pods that never pull.
    pub fn import(&self, image: &OciImage, name: &str) {
        self.lab.import(image, name, &[]);
        self.lab.ctr(&["images", "label", name, "io.cri-containerd.pinned=pinned"]);
    }

    /// Fills the small state disk.
    pub fn fill_state_disk(&self) {
        let chunk = vec![0u8; 64 * 1024];
        let mut file = std::fs::File::create(self.path("state").join("filler")).unwrap();
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    /// Frees it again.
    pub fn free_state_disk(&self) {
        std::fs::remove_file(self.path("state").join("filler")).unwrap();
    }
}
