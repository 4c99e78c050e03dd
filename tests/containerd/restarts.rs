//! containerd is killed and comes back; containers, exits and logs go on.

use minik8s::runtime::{Containerd, Runtime, RuntimeError, RuntimeEvent, TaskState};

use crate::lab::eventually;
use crate::stage::{Stage, next_event};

#[tokio::test(flavor = "multi_thread")]
async fn exits_are_seen_across_a_kill_of_containerd() {
    let mut stage = Stage::new().await;
    let mut events = stage.runtime.events();
    stage.start(&stage.container("long", &["sleep", "1000"])).await;
    stage.start(&stage.container("during", &["sh", "-c", "echo before; sleep 1; echo after; exit 5"])).await;
    stage.lab.kill_containerd();
    next_event(&mut events, |event| *event == RuntimeEvent::Disconnected).await;
    for result in
        [stage.runtime.wait("long").await.map(drop), stage.runtime.list().await.map(drop), stage.runtime.version().await.map(drop)]
    {
        assert!(matches!(result, Err(RuntimeError::Unavailable { .. })), "{result:?}");
    }
    // The logger and the shim need no containerd.
    eventually("the last line", || stage.log("during").contains("after"));
    stage.lab.start_containerd();
    next_event(&mut events, |event| *event == RuntimeEvent::Connected).await;
    match stage.runtime.wait("during").await {
        Ok(exit) => assert_eq!(exit.code, 5),
        // From 1.7 on containerd takes a shim without processes for a leaked one when it starts (runtime/v2/shim_load.go): how the container ended is
        // lost with it, and the pod says so (ContainerStatusUnknown).
        Err(error) => {
            let version = stage.runtime.version().await.unwrap();
            assert!(matches!(error, RuntimeError::NotFound { .. }) && !version.contains("1.6."), "{error}, {version}");
            assert_eq!(stage.runtime.inspect("during").await.unwrap().task, TaskState::None);
        }
    }
    assert!(matches!(stage.runtime.inspect("long").await.unwrap().task, TaskState::Running { .. }));
    stage.runtime.kill("long", 9, true).await.unwrap();
    assert_eq!(stage.wait("long").await.code, 137);
    for id in ["long", "during"] {
        stage.runtime.remove(id).await.unwrap();
    }
    stage.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_driver_may_be_there_before_containerd() {
    let mut stage = Stage::new().await;
    stage.lab.kill_containerd();
    let early = Containerd::connect(stage.lab.config()).await.unwrap();
    let mut events = early.events();
    assert!(matches!(early.list().await, Err(RuntimeError::Unavailable { .. })));
    stage.lab.start_containerd();
    next_event(&mut events, |event| *event == RuntimeEvent::Connected).await;
    assert_eq!(early.list().await.unwrap(), []);
    assert!(early.version().await.unwrap().starts_with(|c: char| c.is_ascii_digit() || c == 'v'));
}
