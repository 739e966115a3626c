//! Start, readiness, restart and stop of real processes.

use std::time::Duration;

use crate::world::{HELPER, World, eventually, free_port, http, is_alive};
use banyan_supervisor::{ChildState, LiveRule, NotReady, StartError};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_becomes_ready_and_stops() {
    let world = World::new();
    let port = free_port();
    let spec = world.http_spec("web.1@r1", port, &[HELPER, "serve", &port.to_string(), "200"]);
    let id = spec.id.clone();
    world.handle.start(spec.clone()).await.unwrap();
    world.handle.ready(&id).await.unwrap();
    let status = world.until_ready("web.1@r1").await;
    assert!(status.memory_bytes.is_some_and(|bytes| bytes > 0), "{status:?}");
    assert_eq!(status.port, Some(port));
    assert!(matches!(
        world.handle.start(spec).await,
        Err(StartError::Exists(_))
    ));

    let report = world.handle.stop(&id).await.unwrap();
    assert_eq!(report.how, "killed by SIGTERM");
    assert!(!report.killed);
    assert!(!is_alive(status.pid.unwrap()));
    assert!(world.handle.status().await.is_empty());
    assert!(world.handle.stop(&id).await.is_none());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_sigterm_is_killed_after_the_grace_with_its_grandchildren() {
    let world = World::new();
    let script = "trap '' TERM; setsid sleep 1000 & echo grandchild $!; (sleep 1001 & echo orphan $!); while :; do sleep 1; done";
    let mut spec = world.spec("stubborn", &["sh", "-c", script]);
    spec.stop_grace = Duration::from_millis(300);
    world.handle.start(spec.clone()).await.unwrap();
    eventually("both grandchildren run", || {
        world.log("stubborn").lines().count() == 2
    })
    .await;
    let report = world.handle.stop(&spec.id).await.unwrap();
    assert!(report.killed, "{report:?}");
    assert!(report.how.starts_with("killed by SIGKILL after"), "{report:?}");
    let log = world.log("stubborn");
    for line in log.lines() {
        let pid = line.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(!is_alive(pid), "{line} survived");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_only_what_the_spec_says() {
    let world = World::new();
    let mut spec = world.spec("env", &["env"]);
    spec.env.insert("GREETING".to_owned(), "hello".to_owned());
    let outcome = world.handle.run(spec, Duration::from_secs(5)).await.unwrap();
    assert!(outcome.success, "{outcome:?}");
    let mut names: Vec<&str> = outcome
        .log_tail
        .lines()
        .filter_map(|l| l.split('=').next())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["BANYAN_SUPERVISED", "GREETING", "PATH"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_exits_at_once_is_reported_with_its_exit_and_its_last_words() {
    let world = World::new();
    let spec = world.spec("broken", &["sh", "-c", "echo missing DATABASE_URL >&2; exit 3"]);
    let mut spec = spec;
    spec.ready = http(free_port(), "/");
    world.handle.start(spec.clone()).await.unwrap();
    let error = world.handle.ready(&spec.id).await.unwrap_err();
    let NotReady::Exited {
        exit,
        times,
        log_tail,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!((exit.as_str(), *times), ("exit code 3", 3));
    assert!(log_tail.contains("missing DATABASE_URL"), "{log_tail}");
    world.until("broken", |status| status.restarts >= 3).await;
    world
        .until("broken", |status| {
            matches!(status.state, ChildState::CrashLoop { exits: 5, .. })
        })
        .await;
    world.handle.stop(&spec.id).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_a_missing_folder_and_a_missing_user_are_told_before_a_process_exists() {
    let world = World::new();
    let missing = world.handle.start(world.spec("a", &["no-such-program"])).await;
    assert!(
        matches!(missing, Err(StartError::ProgramMissing { program, .. }) if program == "no-such-program")
    );
    let mut nowhere = world.spec("a", &["true"]);
    nowhere.cwd = world.path().join("nowhere");
    assert!(matches!(
        world.handle.start(nowhere).await,
        Err(StartError::Folder { .. })
    ));
    let mut nobody = world.spec("a", &["true"]);
    nobody.user = banyan_supervisor::RunAs::User("no-such-user".to_owned());
    assert!(matches!(
        world.handle.start(nobody).await,
        Err(StartError::User { .. })
    ));
    assert!(matches!(
        world.handle.start(world.spec("../a", &["true"])).await,
        Err(StartError::Name(_))
    ));
    // The name is free again after each of them.
    world
        .handle
        .start(world.spec("a", &["sleep", "1000"]))
        .await
        .unwrap();
    world.end().await;
}

async fn timeout_of(world: &World, spec: banyan_supervisor::ChildSpec) -> String {
    let id = spec.id.clone();
    world.handle.start(spec).await.unwrap();
    let error = world.handle.ready(&id).await.unwrap_err();
    let NotReady::Timeout { reason, .. } = error else {
        panic!("{error}")
    };
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_never_listens_is_told_so() {
    let world = World::new();
    let port = free_port();
    let mut spec = world.http_spec("web", port, &["sleep", "1000"]);
    spec.start_grace = Duration::from_millis(500);
    let reason = timeout_of(&world, spec).await;
    assert!(reason.contains("nothing listens on"), "{reason}");
    assert!(reason.contains("it listens on no TCP port"), "{reason}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_the_wrong_port_is_told_which() {
    let world = World::new();
    let (wrong, right) = (free_port(), free_port());
    let script = format!("{HELPER} serve {wrong} 200 & wait");
    let mut spec = world.http_spec("web", right, &["sh", "-c", &script]);
    spec.start_grace = Duration::from_secs(3);
    let reason = timeout_of(&world, spec).await;
    assert!(
        reason.contains(&format!("it listens on {wrong}, but PORT is {right}")),
        "{reason}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_on_the_wrong_port_is_told_long_before_its_grace_is_over() {
    let world = World::new();
    let (wrong, right) = (free_port(), free_port());
    let script = format!("{HELPER} serve {wrong} 200 & wait");
    let mut spec = world.http_spec("web", right, &["sh", "-c", &script]);
    spec.start_grace = Duration::from_secs(3600);
    world.handle.start(spec).await.unwrap();
    let status = world.until("web", |status| status.hint.is_some()).await;
    assert_eq!(status.state, ChildState::Starting);
    let said = format!("it listens on {wrong}, but PORT is {right}");
    let hint = status.hint.unwrap();
    assert!(hint.contains(&said), "{hint}");
    assert_eq!(world.handle.hint(&status.id).await, Some(hint));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_path_that_answers_500_is_named() {
    let world = World::new();
    let port = free_port();
    let mut spec = world.http_spec("web", port, &[HELPER, "serve", &port.to_string(), "500"]);
    spec.start_grace = Duration::from_secs(3);
    let reason = timeout_of(&world, spec).await;
    assert_eq!(reason, "GET /readyz answered 500, expected 200");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_app_without_restarting_it() {
    let world = World::new();
    let port = free_port();
    let flag = world.path().join("ready");
    let spec = world.http_spec(
        "web",
        port,
        &[HELPER, "serve", &port.to_string(), "200", flag.to_str().unwrap()],
    );
    world.handle.start(spec).await.unwrap();
    std::fs::write(&flag, "").unwrap();
    let first = world.until_ready("web").await;
    std::fs::remove_file(&flag).unwrap();
    let sick = world
        .until("web", |s| matches!(s.state, ChildState::NotReady { .. }))
        .await;
    assert_eq!(
        sick.state,
        ChildState::NotReady {
            reason: "GET /readyz answered 500, expected 200".to_owned()
        }
    );
    std::fs::write(&flag, "").unwrap();
    let again = world.until_ready("web").await;
    assert_eq!((first.pid, 0), (again.pid, again.restarts));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_liveness_restarts() {
    let world = World::new();
    let port = free_port();
    let flag = world.path().join("alive");
    std::fs::write(&flag, "").unwrap();
    let mut spec = world.spec(
        "web",
        &[HELPER, "serve", &port.to_string(), "200", flag.to_str().unwrap()],
    );
    let rule = LiveRule {
        failures: 2,
        interval: Duration::from_millis(30),
    };
    spec.live = Some((http(port, "/livez"), rule));
    world.handle.start(spec).await.unwrap();
    let first = world.until_ready("web").await;
    std::fs::remove_file(&flag).unwrap();
    world.until("web", |status| status.restarts >= 1).await;
    std::fs::write(&flag, "").unwrap();
    let second = world
        .until("web", |s| s.state == ChildState::Ready && s.pid != first.pid)
        .await;
    assert_ne!(first.pid, second.pid);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_comes_back_and_what_it_left_is_gone() {
    let world = World::new();
    let spec = world.spec("web", &["sh", "-c", "sleep 1000 & echo $!; wait"]);
    world.handle.start(spec).await.unwrap();
    eventually("it runs", || world.log("web").lines().count() == 1).await;
    let first = world.until_ready("web").await;
    let pid = rustix::process::Pid::from_raw(first.pid.unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let second = world
        .until("web", |s| s.state == ChildState::Ready && s.restarts == 1)
        .await;
    assert_ne!(first.pid, second.pid);
    let left = world.log("web").lines().next().unwrap().parse().unwrap();
    assert!(!is_alive(left));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beyond_its_limit_is_killed() {
    let world = World::new();
    let spec = world.spec("release", &["sh", "-c", "echo working; sleep 1000"]);
    let outcome = world.handle.run(spec, Duration::from_millis(300)).await.unwrap();
    assert!(!outcome.success);
    assert!(outcome.exit.starts_with("killed after 300ms"), "{outcome:?}");
    assert_eq!(outcome.log_tail, "working");
    world.end().await;
}

/// Only root can do this; for other users there is nothing to give up.
#[tokio::test(flavor = "multi_thread")]
async fn as_root_a_child_gives_up_its_rights_for_good() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = World::new();
    let script = "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status; test $(ulimit -n) -gt 1024 && echo files; echo again >> /dev/stdout";
    let mut spec = world.spec("nobody", &["sh", "-c", script]);
    spec.user = banyan_supervisor::RunAs::User("nobody".to_owned());
    let outcome = world.handle.run(spec, Duration::from_secs(5)).await.unwrap();
    assert!(outcome.success, "{outcome:?}");
    let lines: Vec<&str> = outcome.log_tail.lines().collect();
    assert_eq!(
        lines,
        ["65534", "65534", "65534", "NoNewPrivs:\t1", "files", "again"]
    );
    world.end().await;
}
