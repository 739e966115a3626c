//! The controller over its real sockets, with a driver that only pretends.

#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

mod pretend;

use std::time::Duration;

use banyan_reconcile::Ending;
use banyan_reconcile::proto::{Change, Outcome, ProgressState, Reply, Request};
use banyan_runtime::ShutdownStage;
use banyan_testkit::wait;
use expect_test::expect;
use pretend::{Installation, words};

const ONE: &str = "version = 1\nname = \"photos\"\nobserve.enabled = false\n[process.web]\ncommand = \"serve $PORT\"\n[edge]\n";
const THREE: &str = "version = 1\nname = \"photos\"\nobserve.enabled = false\n[process.web]\ncommand = \"serve $PORT\"\ncount = 3\n[edge]\n";

#[tokio::test]
async fn a_start_reports_each_step_and_status_shows_what_was_reached() {
    let mut installation = Installation::new(ONE);
    let mut lines = Vec::new();
    let done = installation
        .handle
        .bring_up(|progress| lines.push(words(&progress)))
        .await;
    assert_eq!((done.outcome, done.error), (Outcome::Changed, None));
    let port = installation.port_of("web.1@r1");
    expect![[r#"
        1/5 begun make r1 the current release
        1/5 done make r1 the current release
        2/5 begun add process web
        2/5 done add process web
        3/5 begun start web.1@r1 on port PORT
        3/5 done start web.1@r1 on port PORT
        4/5 begun start edge on 127.0.0.1:0
        4/5 done start edge on 127.0.0.1:0
        5/5 begun admit web.1@r1
        5/5 done admit web.1@r1"#]]
    .assert_eq(&lines.join("\n").replace(&port.to_string(), "PORT"));

    let replies = installation.ask(Request::Status).await;
    let [Reply::Status(status)] = &replies[..] else {
        panic!("{replies:?}")
    };
    assert_eq!(status.app, "photos");
    assert_eq!(
        status
            .rotation
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["web.1@r1"]
    );
    assert!(status.unfinished.is_none());
    let again = installation.apply(Change::Configuration).await;
    assert_eq!(again.outcome, Outcome::Nothing);
    assert_eq!(installation.down().await, Ending::Down);
    assert!(installation.driver.children().is_empty());
}

#[tokio::test]
async fn while_one_change_runs_status_answers_and_a_second_change_is_refused() {
    let mut installation = Installation::up(ONE).await;
    installation.write(THREE);
    installation.driver.hold("start web.3");
    let mut first = installation.begin_apply().await;
    installation.driver.held().await;

    let replies = installation.ask(Request::Status).await;
    let [Reply::Status(status)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let under_way = status.under_way.clone().unwrap();
    let step = under_way.step.unwrap();
    assert!(
        under_way.what == "change" && step.what.starts_with("start web.3"),
        "{step:?}"
    );
    assert!(
        step.number <= step.of && step.since_ms >= under_way.since_ms && !step.undoes,
        "{step:?}"
    );
    let refused = installation.apply(Change::Configuration).await;
    assert_eq!(refused.outcome, Outcome::Refused);
    let error = refused.error.unwrap();
    assert!(
        error.contains("another change is under way") && error.contains("start web.3"),
        "{error}"
    );

    installation.driver.release();
    let mut last = None;
    while let Some(reply) = first.receive::<Reply>().await.unwrap() {
        last = Some(reply);
    }
    assert!(
        matches!(
            last,
            Some(Reply::Done {
                outcome: Outcome::Changed,
                error: None,
                ..
            })
        ),
        "{last:?}"
    );
    installation.down().await;
}

#[tokio::test]
async fn instances_that_are_added_start_at_once_and_are_admitted_when_all_are_ready() {
    let mut installation = Installation::up(ONE).await;
    installation.write(THREE);
    installation.driver.hold("start web.2");
    let mut change = installation.begin_apply().await;
    installation.driver.held().await;
    let both = ["web.1@r1", "web.3@r1"];
    wait::until("the third to be started", Duration::from_secs(30), async || {
        let children = installation.driver.children();
        if both.iter().all(|id| children.contains(*id)) {
            Ok(())
        } else {
            Err(format!("{children:?}"))
        }
    })
    .await
    .unwrap();
    let replies = installation.ask(Request::Status).await;
    let [Reply::Status(status)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let step = status.under_way.clone().and_then(|change| change.step);
    assert!(
        step.as_ref()
            .is_some_and(|step| step.what.starts_with("start web.2")),
        "{step:?}"
    );
    assert_eq!(status.rotation.len(), 1, "nothing is admitted meanwhile");

    installation.driver.release();
    let mut lines = Vec::new();
    while let Some(reply) = change.receive::<Reply>().await.unwrap() {
        if let Reply::Progress(progress) = reply {
            lines.push(words(&progress));
        }
    }
    let ends: Vec<&str> = lines
        .iter()
        .filter_map(|line| Some(line.split_once(" done ")?.1.split(" on ").next().unwrap()))
        .filter(|what| what.contains("web."))
        .collect();
    assert_eq!(
        ends,
        [
            "start web.3@r1",
            "start web.2@r1",
            "admit web.2@r1",
            "admit web.3@r1"
        ]
    );
    installation.down().await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_and_changes_nothing() {
    let mut installation = Installation::up(ONE).await;
    let before = installation.driver.children();
    installation.write("version = 1\nname = \"photos\"\n[process.web]\ncommand = \"serve\"\ncuont = 3\n");
    let refused = installation.apply(Change::Deploy).await;
    assert_eq!(refused.outcome, Outcome::Refused);
    assert!(refused.error.unwrap().contains("cuont"));
    assert_eq!(installation.driver.children(), before);
    assert_eq!(installation.down().await, Ending::Down);
}

#[tokio::test]
async fn a_plan_that_was_shown_is_refused_when_the_configuration_has_changed_since() {
    let mut installation = Installation::up(ONE).await;
    let (config, change) = (installation.paths(), Change::Deploy);
    let replies = installation
        .ask(Request::Plan {
            config: config.clone(),
            change: change.clone(),
        })
        .await;
    let [
        Reply::Plan {
            config_hash, text, ..
        },
    ] = &replies[..]
    else {
        panic!("{replies:?}")
    };
    assert!(
        text.iter().any(|line| line.contains("start web.1@r2")),
        "{text:?}"
    );
    installation.write(THREE);
    let config_hash = Some(config_hash.clone());
    let stale = installation
        .handle
        .request(
            Request::Apply {
                config,
                change,
                config_hash,
            },
            |_| {},
        )
        .await;
    assert_eq!(stale.outcome, Outcome::Refused);
    assert!(stale.error.unwrap().contains("has changed since"));
    installation.down().await;
}

#[tokio::test]
async fn a_deploy_that_fails_is_undone_and_says_why() {
    let mut installation = Installation::up(ONE).await;
    let before = installation.driver.children();
    installation.driver.fail("admit web.1@r2");
    let mut lines = Vec::new();
    let request = Request::Apply {
        config: installation.paths(),
        change: Change::Deploy,
        config_hash: None,
    };
    let done = installation
        .handle
        .request(request, |progress| lines.push(words(&progress)))
        .await;
    assert_eq!(done.outcome, Outcome::RolledBack);
    expect!["failed to admit web.1@r2: it was told to fail"].assert_eq(&done.error.unwrap());
    assert!(
        lines.iter().any(|line| line.contains("reverting stop web.1@r2")),
        "{lines:?}"
    );
    assert_eq!(installation.driver.children(), before);
    installation.driver.fail("nothing");

    let deployed = installation.apply(Change::Deploy).await;
    assert_eq!((deployed.outcome, deployed.error), (Outcome::Changed, None));
    let back = installation.apply(Change::Rollback { to: None }).await;
    assert_eq!((back.outcome, back.error), (Outcome::Changed, None));
    assert_eq!(installation.driver.children(), before);
    installation.down().await;
}

#[tokio::test]
async fn after_a_failed_deploy_the_old_release_is_kept_until_the_next_deploy() {
    let mut installation = Installation::up(ONE).await;
    let before = installation.driver.children();
    installation.write(&ONE.replace("[process.web]", "[app.env]\nBROKEN = \"yes\"\n[process.web]"));
    installation.driver.fail("admit web.1@r2");
    let failed = installation.apply(Change::Configuration).await;
    assert_eq!(failed.outcome, Outcome::RolledBack);
    installation.driver.fail("nothing");

    let kept = installation.apply(Change::Configuration).await;
    assert_eq!(kept.outcome, Outcome::Nothing);
    expect!["r1 is kept since a rollback or a failed deploy: commands, environment and programs of the configuration wait for `banyan deploy`"].assert_eq(&kept.notes.join("\n"));
    assert_eq!(installation.driver.children(), before);
    assert_eq!(installation.apply(Change::Deploy).await.outcome, Outcome::Changed);
    installation.down().await;
}

#[tokio::test]
async fn a_change_that_fails_stands_until_it_is_resumed_or_reverted() {
    let mut installation = Installation::up(ONE).await;
    let before = installation.driver.children();
    installation.write(THREE);
    installation.driver.fail("start web.3");
    let stopped = installation.apply(Change::Configuration).await;
    assert_eq!(stopped.outcome, Outcome::Stopped);
    let replies = installation.ask(Request::Status).await;
    let [Reply::Status(status)] = &replies[..] else {
        panic!("{replies:?}")
    };
    let (done, of, why) = status.unfinished.clone().unwrap();
    assert!(done < of && why.contains("start web.3"), "{done} {of} {why}");
    let reverted = installation.handle.request(Request::Revert, |_| {}).await;
    assert_eq!((reverted.outcome, reverted.error), (Outcome::RolledBack, None));
    assert_eq!(installation.driver.children(), before);
    installation.down().await;
}

#[tokio::test]
async fn a_change_that_failed_is_resumed_once_its_cause_is_gone() {
    let mut installation = Installation::up(ONE).await;
    installation.write(THREE);
    installation.driver.fail("start web.3");
    assert_eq!(
        installation.apply(Change::Configuration).await.outcome,
        Outcome::Stopped
    );
    installation.driver.fail("nothing");
    let resumed = installation.handle.request(Request::Resume, |_| {}).await;
    assert_eq!((resumed.outcome, resumed.error), (Outcome::Changed, None));
    assert_eq!(installation.driver.children().len(), 4);
    let again = installation.handle.request(Request::Resume, |_| {}).await;
    assert_eq!(again.outcome, Outcome::Refused);
    expect!["no plan is unfinished: there is nothing to resume"].assert_eq(&again.error.unwrap());
    installation.down().await;
}

#[tokio::test]
async fn the_last_plan_is_reverted_even_after_it_succeeded() {
    let mut installation = Installation::up(ONE).await;
    let before = installation.driver.children();
    installation.write(THREE);
    assert_eq!(
        installation.apply(Change::Configuration).await.outcome,
        Outcome::Changed
    );
    let reverted = installation.handle.request(Request::Revert, |_| {}).await;
    assert_eq!((reverted.outcome, reverted.error), (Outcome::RolledBack, None));
    assert_eq!(installation.driver.children(), before);
    let again = installation.handle.request(Request::Revert, |_| {}).await;
    expect!["the last plan is undone already"].assert_eq(&again.error.unwrap());
    installation.down().await;
}

#[tokio::test]
async fn a_failed_deploy_uses_up_its_number_and_a_rollback_holds_until_the_next_deploy() {
    let mut installation = Installation::up(ONE).await;
    installation.driver.fail("start web.1@r2");
    assert_eq!(
        installation.apply(Change::Deploy).await.outcome,
        Outcome::RolledBack
    );
    installation.driver.fail("nothing");
    assert_eq!(installation.apply(Change::Deploy).await.error, None);
    assert!(installation.driver.children().contains("web.1@r3"));
    assert_eq!(
        installation.apply(Change::Rollback { to: None }).await.error,
        None
    );
    assert!(installation.driver.children().contains("web.1@r1"));
    let stays = installation.apply(Change::Configuration).await;
    assert_eq!(stays.outcome, Outcome::Nothing);
    assert_eq!(installation.apply(Change::Deploy).await.error, None);
    assert!(installation.driver.children().contains("web.1@r4"));
    installation.down().await;
}

#[tokio::test]
async fn a_second_controller_of_the_same_folder_is_refused() {
    let mut installation = Installation::up(ONE).await;
    let error = installation.second().err().unwrap().to_string();
    let pid = std::process::id().to_string();
    expect!["Banyan runs here already (pid PID); `banyan status` shows it, `banyan apply` changes it, `banyan down` stops it"]
        .assert_eq(&error.replace(&pid, "PID"));
    installation.down().await;
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_a_change_stops_everything_in_order() {
    let mut installation = Installation::up(ONE).await;
    installation.write(THREE);
    installation.driver.hold("start web.2");
    let connection = installation.begin_apply().await;
    installation.driver.held().await;
    installation.trigger.advance(ShutdownStage::Draining);
    assert_eq!(installation.ending().await, Ending::Down);
    assert!(installation.driver.children().is_empty());
    drop(connection);
}

#[tokio::test]
async fn a_start_that_fails_from_nothing_leaves_nothing_and_ends() {
    let mut installation = Installation::new(ONE);
    installation.driver.fail("start web.1");
    let done = installation.handle.bring_up(|_| {}).await;
    assert_eq!(done.outcome, Outcome::RolledBack);
    assert_eq!(installation.ending().await, Ending::NotStarted);
    assert!(installation.driver.children().is_empty());
}

#[tokio::test]
async fn a_new_controller_finds_what_the_killed_one_left() {
    let mut installation = Installation::up(THREE).await;
    let before = installation.driver.children();
    installation.kill_controller().await;
    installation.restart();
    let mut steps = 0;
    let done = installation
        .handle
        .bring_up(|progress| steps += usize::from(progress.state == ProgressState::Done))
        .await;
    assert_eq!((done.outcome, done.error, steps), (Outcome::Nothing, None, 0));
    assert_eq!(installation.driver.children(), before);
    assert!(
        tokio::time::timeout(Duration::from_secs(60), installation.down())
            .await
            .is_ok()
    );
}
