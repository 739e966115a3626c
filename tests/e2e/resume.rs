//! A controller that dies in the middle of a plan: the next one ends where an undisturbed one would.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;
use serde_json::Value;

use crate::servers::proxied;

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apply_killed_at_each_step_ends_in_the_same_topology() {
    let (wanted, steps) = grown(None).await;
    println!("undisturbed: {steps} steps");
    assert!(steps >= 6, "a plan worth the test: {steps} steps");
    for step in 0..steps {
        let (reached, _) = grown(Some(step)).await;
        assert_eq!(reached, wanted, "killed at step {step}");
    }
    println!("killed at each of {steps} steps: the same topology each time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_from_nothing_killed_at_each_step_ends_in_the_same_topology() {
    let (wanted, steps) = started(None).await;
    println!("undisturbed: {steps} steps");
    for step in 0..steps {
        let (reached, _) = started(Some(step)).await;
        assert_eq!(reached, wanted, "killed at step {step}");
    }
    println!("killed at each of {steps} steps: the same topology each time");
}

/// One instance becomes three of a new release behind an edge with other settings. `kill_at`: the step at whose beginning the
/// controller dies. Returns the topology that was reached and the number of steps of the plan.
async fn grown(kill_at: Option<usize>) -> (Value, usize) {
    let mut installation = Installation::new(Manifest::misfit("").env("VERSION", "1"));
    installation.up().await;
    let before = newest_journal(&installation);
    installation.manifest = installation
        .manifest
        .clone()
        .env("VERSION", "2")
        .edge("timeouts = { response = \"31s\" }");
    installation.manifest.count = 3;
    installation.write_manifest();
    match kill_at {
        None => {
            installation.verb(&["apply"]).await;
        }
        Some(step) => {
            let apply = installation.command(&["apply"]).start().unwrap();
            kill_at_step(&mut installation, before.as_deref(), step).await;
            drop(apply);
            installation.start_controller();
        }
    }
    reached(installation, before).await
}

/// The sample app from nothing. As [`grown`].
async fn started(kill_at: Option<usize>) -> (Value, usize) {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.start_controller();
    if let Some(step) = kill_at {
        kill_at_step(&mut installation, None, step).await;
        installation.start_controller();
    }
    installation.serving("/").await;
    reached(installation, None).await
}

/// The proxy of a new banyan takes over; the controller is killed as that begins. Ends with nothing left to do.
pub(crate) async fn replaced() {
    let mut installation = Installation::new(proxied(&[]));
    installation.manifest.count = 1;
    installation.rebuild_banyan("first");
    installation.up().await;
    let before = newest_journal(&installation);
    installation.rebuild_banyan("second");
    let apply = installation.command(&["apply"]).start().unwrap();
    kill_at_step(&mut installation, before.as_deref(), 0).await;
    drop(apply);
    installation.start_controller();
    installation.settled().await;
    installation.verb(&["apply"]).await;
    let plan = installation.try_verb(&["plan"]).await;
    assert_eq!(plan.code(), 0, "{}\n{}", plan.output(), installation.logs());
    let status = installation.status().await;
    let rows = status["children"].as_array().unwrap();
    let proxies = rows.iter().filter(|row| row["kind"] == "pgproxy").count();
    assert_eq!(proxies, 1, "{status}");
}

/// When the controller dies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Step(usize),
    /// As this step is undone.
    Undone(usize),
    /// As another server becomes the primary.
    Switchover,
    SwitchoverBack,
}

impl At {
    fn is_reached(self, journal: &[Value]) -> bool {
        let (entry, wanted) = match self {
            Self::Step(step) => ("begun", Some(step)),
            Self::Undone(step) => ("undoing", Some(step)),
            Self::Switchover => ("begun", switchover(journal)),
            Self::SwitchoverBack => ("undoing", switchover(journal)),
        };
        let wanted = wanted.map(Value::from);
        journal
            .iter()
            .any(|line| line["entry"] == entry && wanted.as_ref() == Some(&line["step"]))
    }
}

fn switchover(journal: &[Value]) -> Option<usize> {
    let steps = journal.first()?["plan"]["steps"].as_array()?;
    steps
        .iter()
        .position(|planned| planned["step"]["step"] == "switchover")
}

async fn kill_at_step(installation: &mut Installation, after: Option<&Path>, step: usize) {
    kill_at(installation, after, At::Step(step)).await;
}

/// Kills the controller when the newest journal, which is not `after`, has got so far.
pub(crate) async fn kill_at(installation: &mut Installation, after: Option<&Path>, at: At) {
    let begun = wait::until("the step to begin", LIMIT, async || {
        let journal = newest_journal(installation).filter(|newest| Some(newest.as_path()) != after);
        let entries = journal.map(|path| entries(&path)).unwrap_or_default();
        if at.is_reached(&entries) {
            Ok(())
        } else {
            Err(format!("{} entries", entries.len()))
        }
    });
    if let Err(timed_out) = begun.await {
        panic!(
            "{timed_out} ({at:?})\n{}\n{}",
            installation.controller_output(),
            installation.logs()
        );
    }
    installation.kill_controller();
}

async fn reached(mut installation: Installation, before: Option<PathBuf>) -> (Value, usize) {
    installation.settled().await;
    // A new controller goes on by itself; a second apply must find nothing left to do.
    let plan = installation.try_verb(&["plan"]).await;
    assert_eq!(
        plan.code(),
        0,
        "nothing is left to do: {}\n{}",
        plan.output(),
        installation.logs()
    );
    let steps = steps_after(&installation, before.as_deref());
    // Ended by its guard, which is quicker than `down`.
    (topology(&installation).await, steps)
}

/// What status says without what differs from run to run.
async fn topology(installation: &Installation) -> Value {
    let status = installation.status().await;
    let child = |row: &Value| serde_json::json!({ "id": row["id"], "kind": row["kind"], "state": row["state"], "in_rotation": row["in_rotation"] });
    let mut edge = status["edge"].clone();
    edge["listen"] = Value::Null;
    let mut children: Vec<Value> = status["children"].as_array().unwrap().iter().map(child).collect();
    children.sort_by_key(|row| row["id"].to_string());
    serde_json::json!({
        "release": status["release"],
        "rotation": status["rotation"],
        "edge": edge,
        "children": children,
    })
}

/// How many steps the first plan after this journal had.
pub(crate) fn steps_after(installation: &Installation, before: Option<&Path>) -> usize {
    let journals = journals(installation);
    let first = journals
        .iter()
        .find(|path| before < Some(path.as_path()))
        .expect("a journal of this plan");
    entries(first)[0]["plan"]["steps"]
        .as_array()
        .expect("a plan")
        .len()
}

/// The steps that the newest plan's undoing has come to.
pub(crate) fn undone(installation: &Installation) -> Vec<usize> {
    let journal = newest_journal(installation).expect("a journal");
    let undone = entries(&journal)
        .into_iter()
        .filter(|entry| entry["entry"] == "undoing");
    undone
        .filter_map(|entry| usize::try_from(entry["step"].as_u64()?).ok())
        .collect()
}

fn journals(installation: &Installation) -> Vec<PathBuf> {
    let entries = fs::read_dir(installation.state().join("journal"))
        .into_iter()
        .flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    paths.sort();
    paths
}

pub(crate) fn newest_journal(installation: &Installation) -> Option<PathBuf> {
    journals(installation).pop()
}

fn entries(journal: &Path) -> Vec<Value> {
    let text = fs::read_to_string(journal).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
