//! A file system that does not answer, as a dead NFS server's: a FUSE server (bindfs) that is stopped.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::rig::{Rig, phase};

const WAIT: Duration = Duration::from_secs(60);
const SLEEPER: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  terminationGracePeriodSeconds: 0\n  containers:\n  - {name: main, image: busybox, command: [sleep, \"100000\"]}\n";

/// A directory served to another place.
struct Served {
    server: Child,
    place: PathBuf,
}

impl Served {
    fn at(place: &Path, from: &Path) -> Served {
        let server = Command::new("bindfs").arg("-f").args([from, place]).spawn().expect("apt-get install bindfs");
        let begun = Instant::now();
        let mounted = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&format!(" {} ", place.display()));
        while !mounted() {
            assert!(begun.elapsed() < Duration::from_secs(10), "bindfs does not mount");
            std::thread::sleep(Duration::from_millis(10));
        }
        Served { server, place: place.to_owned() }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.server.id().to_string()]).status().unwrap().success());
    }
}

impl Drop for Served {
    /// Who waits for the server is let go by its end.
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.place).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_manifests_directory_that_hangs_is_told_and_holds_nobody_up() {
    let mut served = None;
    let mut rig = Rig::with(|rig| {
        served = Some(Served::at(&rig.manifests(), &rig.dir("served")));
        Vec::new()
    });
    let served = served.unwrap();
    rig.write_in_place("p.yaml", SLEEPER);
    rig.wait("it runs", WAIT, |r| r.pods().iter().any(|p| phase(p) == "Running"));
    let pid = rig.container_pid("main");
    served.signal("-STOP");
    let late = rig.dir("late").join("late.yaml");
    std::fs::write(&late, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}\n").unwrap();
    let said = rig.cli_fails(&["apply", "-f", late.to_str().unwrap()]);
    assert!(said.contains("does not answer within 20 s, so the change is made when it does"), "{said}");
    rig.wait("the log says so", WAIT, |r| r.log().contains("has not answered for 15 s"));
    let doctor = rig.minik8s(&["doctor", "--manifests", rig.manifests().to_str().unwrap()]).output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("its file system does not answer within 5 s"), "{doctor}");
    // Neither an end nor a start waits for it, though an edit hangs.
    rig.stop_agent();
    rig.start_agent();
    rig.wait("the new agent says so, too", WAIT, |r| r.log().matches("has not answered for 15 s").count() == 2);
    assert_eq!((rig.pods().len(), rig.container_pid("main")), (1, pid), "what runs runs on");
    served.signal("-CONT");
    rig.wait("it answers again", WAIT, |r| r.log().contains("answers again"));
    rig.cli(&["apply", "-f", late.to_str().unwrap()]);
    rig.wait("and is read", WAIT, |r| r.get("configmap/late")["kind"] == "ConfigMap");
    assert_eq!(rig.container_pid("main"), pid);
    rig.remove("p.yaml");
    rig.wait("and what was removed goes", WAIT, |r| r.pods().is_empty());
    rig.stop_agent();
    drop(served);
    rig.start_agent();
    rig.close();
}

/// Whether the watchdog is fed within this time.
fn fed(notify: &UnixDatagram, within: Duration) -> bool {
    let until = Instant::now() + within;
    let mut buffer = [0u8; 512];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        notify.set_read_timeout(Some(left)).unwrap();
        match notify.recv(&mut buffer) {
            Ok(length) if String::from_utf8_lossy(&buffer[..length]).contains("WATCHDOG=1") => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// The loop turns every 15 s at the least.
#[test]
fn the_watchdog_is_fed_by_the_loop_and_by_nothing_else() {
    let (mut served, mut notify) = (None, None);
    let rig = Rig::with(|rig| {
        served = Some(Served::at(&rig.dir("state"), &rig.dir("served")));
        notify = Some(UnixDatagram::bind(rig.notify_socket()).unwrap());
        Vec::new()
    });
    let (served, notify) = (served.unwrap(), notify.unwrap());
    assert!(fed(&notify, Duration::from_secs(20)), "{}", rig.log());
    // The state cannot be written: the loop waits for its transaction, for ever.
    served.signal("-STOP");
    rig.write("c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n");
    let stuck_by = Instant::now() + WAIT;
    while fed(&notify, Duration::from_secs(2)) {
        assert!(Instant::now() < stuck_by, "something feeds the watchdog though the loop is stuck");
    }
    assert!(!fed(&notify, Duration::from_secs(20)), "the loop is stuck");
    // The same agent goes on as soon as it can: nothing but systemd would have replaced it.
    served.signal("-CONT");
    assert!(fed(&notify, Duration::from_secs(20)), "{}", rig.log());
    rig.wait("it goes on", WAIT, |r| r.get("configmap/c")["kind"] == "ConfigMap");
    drop(notify);
    rig.close();
    drop(served);
}
