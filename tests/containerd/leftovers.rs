//! What containerd leaves of creations that were cut off.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use minik8s::runtime::{Containerd, Runtime};

use crate::lab::eventually;
use crate::stage::Stage;

/// In front of runc: it takes its time to create and to delete while there is a file `slow`, and says so in `creating` and `deleting`.
fn slow_runtime(dir: &Path) -> PathBuf {
    let path = dir.join("slow-runc");
    let slow = format!(
        "if [ -e {0}/slow ]; then case \" $* \" in *' create '*) touch {0}/creating; sleep 4 ;; *' delete '*) touch {0}/deleting; sleep 8 ;; esac; fi",
        dir.display()
    );
    std::fs::write(&path, format!("#!/bin/sh\n{slow}\nexec runc \"$@\"\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn bundle(stage: &Stage, id: &str) -> PathBuf {
    stage.lab.dir.join("state/io.containerd.runtime.v2.task").join(&stage.lab.namespace).join(id)
}

/// An agent ends while a container is created on a busy host; the next creates it under the same id.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_was_cut_off_can_be_made_again() {
    let stage = Stage::new().await;
    let slow = stage.lab.dir.join("slow");
    std::fs::write(&slow, "").unwrap();
    let mut config = stage.lab.config();
    config.runtime_binary = Some(slow_runtime(&stage.lab.dir));
    let container = stage.container("one", &["sleep", "1000"]);
    let first = {
        let (config, container, creating) = (config.clone(), container.clone(), stage.lab.dir.join("creating"));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let driver = Containerd::connect(config).await.unwrap();
                let begun = async {
                    while !creating.exists() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                tokio::select! {
                    made = driver.create(&container) => panic!("it was to be slow: {made:?}"),
                    () = begun => {}
                }
            });
        })
    };
    first.join().unwrap();
    eventually("containerd cleans up", || stage.lab.dir.join("deleting").exists());
    std::fs::remove_file(&slow).unwrap();
    let second = Containerd::connect(config).await.unwrap();
    second.remove("one").await.unwrap();
    second.create(&container).await.unwrap_or_else(|error| panic!("{error}\n{}", stage.lab.daemon_log()));
    second.start("one").await.unwrap();
    second.remove("one").await.unwrap();
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_stays_is_taken_away_but_nothing_that_is_mounted_there() {
    let stage = Stage::new().await;
    let (left, theirs) = (bundle(&stage, "one"), stage.lab.dir.join("theirs"));
    std::fs::create_dir_all(left.join("rootfs")).unwrap();
    std::fs::write(left.join("config.json"), "{}").unwrap();
    std::fs::create_dir(&theirs).unwrap();
    std::fs::write(theirs.join("file"), "").unwrap();
    nix::mount::mount(Some(&theirs), &left.join("rootfs"), None::<&str>, nix::mount::MsFlags::MS_BIND, None::<&str>).unwrap();
    let begun = std::time::Instant::now();
    stage.start(&stage.container("one", &["sleep", "1000"])).await;
    assert!(begun.elapsed() > Duration::from_secs(10), "containerd is left its time to clean up itself");
    assert!(theirs.join("file").exists());
    stage.runtime.remove("one").await.unwrap();
    eventually("the bundle goes", || !left.exists());
    stage.assert_nothing_left();
}
