//! Children outlive their controller, and the next one finds and takes over every one of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::{HELPER, World, eventually, free_port, helper_for_all, is_alive};
use banyan_config::LogSettings;
use banyan_supervisor::child::log::{self, Part};
use banyan_supervisor::{ChildId, ChildState};
use rustix::process::{Pid, Signal, kill_process};

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_controller_adopts_watches_restarts_and_stops_what_the_old_one_left() {
    let mut world = World::new();
    let port = free_port();
    let spec = world.http_spec("web.1@r1", port, &[HELPER, "serve", &port.to_string(), "200"]);
    world.handle.start(spec.clone()).await.unwrap();
    world.handle.ready(&spec.id).await.unwrap();
    let before = world.until_ready("web.1@r1").await;
    world.restart_controller().await;
    assert!(is_alive(before.pid.unwrap()), "it ended with its controller");

    let survivors = world.handle.survivors().await;
    assert_eq!(survivors.len(), 1);
    assert_eq!(Some(survivors[0].pid), before.pid);
    assert!(world.handle.adopt(spec.clone(), &survivors[0]).await);
    world.handle.ready(&spec.id).await.unwrap();
    assert!(world.handle.survivors().await.is_empty());

    // It is watched as if it were ours: its death is noticed and answered.
    kill(before.pid.unwrap());
    let again = world
        .until("web.1@r1", |s| {
            s.state == ChildState::Ready && s.pid != before.pid
        })
        .await;
    assert_eq!(again.restarts, 1);
    let report = world.handle.stop(&spec.id).await.unwrap();
    assert_eq!(report.how, "killed by SIGTERM");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_child_that_ignores_sigterm_is_killed_with_what_it_started() {
    let mut world = World::new();
    let script = "trap '' TERM; setsid sleep 1000 & echo $!; while :; do sleep 1; done";
    let mut spec = world.spec("app", &["sh", "-c", script]);
    spec.stop_grace = Duration::from_millis(200);
    world.handle.start(spec.clone()).await.unwrap();
    eventually("its grandchild runs", || !world.log("app").is_empty()).await;
    world.restart_controller().await;
    let survivors = world.handle.survivors().await;
    assert!(world.handle.adopt(spec.clone(), &survivors[0]).await);
    let report = world.handle.stop(&spec.id).await.unwrap();
    assert!(report.killed, "{report:?}");
    assert!(!is_alive(world.log("app").trim().parse().unwrap()));
    world.end().await;
}

/// Starts a controller as a process of its own, which starts `argv` as child `app`; kills the controller.
async fn killed_controller(world: &World, argv: &[&str]) {
    #[expect(
        clippy::disallowed_methods,
        reason = "a controller to be killed, which must be no child of a supervisor"
    )]
    let mut controller = Command::new(helper_for_all(world.path()))
        .arg("controller")
        .arg(world.path())
        .args(argv)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(controller.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    controller.kill().unwrap();
    controller.wait().unwrap();
    assert_eq!(line, "started\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_a_killed_controller_is_found_even_when_it_was_never_recorded() {
    let world = World::new();
    killed_controller(&world, &["sh", "-c", "echo up; exec sleep 1000"]).await;
    // As if the controller had been killed between the start and the record.
    fs::remove_file(world.path().join("children.json")).unwrap_or_default();
    let survivors = world.handle.survivors().await;
    assert_eq!(survivors.len(), 1, "{survivors:?}");
    assert_eq!(
        banyan_supervisor::survivors(world.path()),
        survivors,
        "without a supervisor, too"
    );
    let spec = world.spec("app", &["sleep", "1000"]);
    assert!(world.handle.adopt(spec, &survivors[0]).await);
    world.handle.stop(&ChildId("app".to_owned())).await.unwrap();
    assert!(!is_alive(survivors[0].pid));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_under_the_name_of_an_orphan_ends_the_orphan_first() {
    let world = World::new();
    killed_controller(&world, &["sleep", "1000"]).await;
    let orphan = world.handle.survivors().await[0].pid;
    world
        .handle
        .start(world.spec("app", &["sleep", "1001"]))
        .await
        .unwrap();
    assert!(!is_alive(orphan));
    assert_ne!(world.until_ready("app").await.pid, Some(orphan));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_all_reaches_orphans_too() {
    let world = World::new();
    killed_controller(&world, &["sh", "-c", "setsid sleep 1000 & exec sleep 1001"]).await;
    let orphan = world.handle.survivors().await[0].pid;
    world
        .handle
        .start(world.spec("other", &["sleep", "1002"]))
        .await
        .unwrap();
    let other = world.until_ready("other").await.pid.unwrap();
    world.handle.kill_all().await;
    assert!(!is_alive(orphan) && !is_alive(other));
    assert!(world.handle.survivors().await.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_another_process_or_another_boot_is_not_believed() {
    let mut world = World::new();
    let spec = world.spec("app", &["sleep", "1000"]);
    world.handle.start(spec.clone()).await.unwrap();
    let pid = world.until_ready("app").await.pid.unwrap();
    world.restart_controller().await;
    let survivor = world.handle.survivors().await[0].clone();
    for wrong in [
        banyan_supervisor::Adopted {
            start_ticks: survivor.start_ticks + 1,
            ..survivor.clone()
        },
        banyan_supervisor::Adopted {
            boot_id: "another".to_owned(),
            ..survivor.clone()
        },
    ] {
        assert!(!world.handle.adopt(spec.clone(), &wrong).await);
    }
    assert!(is_alive(pid));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_rotated_packed_and_let_go_while_the_child_writes() {
    const FILE: u64 = 128 * 1024;
    let world = World::new();
    let settings = LogSettings {
        file_bytes: FILE,
        ..LogSettings::default()
    };
    world.handle.keep_logs(settings.clone());
    let left = world.path().join("logs/gone.log");
    fs::create_dir_all(world.path().join("logs")).unwrap();
    fs::write(&left, "of a child that is no more\n").unwrap();
    // 200 lines at a time: a writer without pauses leaves a busy machine behind.
    let script = "i=0; while :; do i=$((i+1)); echo line $i of a log that grows and grows; [ $((i % 200)) -ne 0 ] || sleep 0.02; done";
    world
        .handle
        .start(world.spec("chatty", &["sh", "-c", script]))
        .await
        .unwrap();
    let parts = || {
        let files = log::files(&world.path().join("logs")).unwrap();
        files
            .into_iter()
            .filter(|file| file.child == "chatty")
            .collect::<Vec<_>>()
    };
    eventually("old lines are packed", || {
        parts().iter().any(|file| file.part == Part::Packed)
    })
    .await;
    let packed = parts().into_iter().find(|file| file.part == Part::Packed);
    if let Some(mut lines) = packed.and_then(|file| log::open_lines(&file).ok()) {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut lines, &mut text).unwrap();
        assert!(text.contains("of a log that grows"), "{text:.80}");
    }
    // Less than what was rotated has: the oldest goes first.
    world.handle.keep_logs(LogSettings {
        total_bytes: FILE / 2,
        ..settings
    });
    eventually("what nobody writes is gone", || !left.exists()).await;
    eventually("it is written on", || !world.log("chatty").is_empty()).await;
    world.end().await;
}
