//! Kill -9 of agent and containerd at random moments during a Job of 20 pods: nothing runs twice, no completion is lost or counted twice.

use std::time::{Duration, Instant};

use crate::rig::{Rig, condition, phase};

const KILLS: usize = 30;

/// A tiny generator (SplitMix64): the seed printed replays the moments.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn thirty_kills_during_a_job_of_twenty_pods() {
    let mut seed = std::env::var("CHAOS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| u64::from(std::process::id()));
    println!("CHAOS_SEED={seed}");
    let mut rig = Rig::new();
    let out = rig.dir("out");
    rig.write("j.yaml", &format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: twenty}}\nspec:\n  completions: 20\n  parallelism: 2\n  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      containers:\n      - name: main\n        image: busybox\n        command: [sh, -c, \"echo run >> /out/$HOSTNAME; sleep 2\"]\n        volumeMounts: [{{name: out, mountPath: /out}}]\n      volumes: [{{name: out, hostPath: {{path: {}}}}}]\n",
        out.display()
    ));
    let deadline = Instant::now() + Duration::from_secs(300);
    let mut kills = 0;
    while kills < KILLS {
        assert!(Instant::now() < deadline, "no progress: {kills} kills");
        std::thread::sleep(Duration::from_millis(next(&mut seed) % 900));
        match next(&mut seed) % 3 {
            0 => {
                rig.kill_containerd();
                std::thread::sleep(Duration::from_millis(next(&mut seed) % 300));
                rig.start_containerd();
            }
            1 => {
                rig.kill_agent();
                std::thread::sleep(Duration::from_millis(next(&mut seed) % 300));
                rig.start_agent();
            }
            _ => {
                rig.kill_agent();
                rig.kill_containerd();
                rig.start_containerd();
                rig.start_agent();
            }
        }
        kills += 1;
    }
    rig.wait("the Job is Complete", Duration::from_secs(180), |r| condition(&r.get("job/twenty"), "Complete") == "True");
    let status = rig.get("job/twenty")["status"].clone();
    println!("after {kills} kills: {status}");
    assert_eq!((status["succeeded"].as_i64(), status["failed"].as_i64()), (Some(20), None), "{status}");
    let pods = rig.pods();
    assert_eq!(pods.iter().filter(|p| phase(p) == "Succeeded").count(), 20);
    let mut runs = 0;
    for entry in std::fs::read_dir(&out).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "run\n", "{} ran twice", path.display());
        runs += 1;
    }
    assert_eq!(runs, 20);
    assert_eq!(rig.tasks(), 0);
    rig.close();
}
