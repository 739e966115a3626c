//! The database moves to another disk and port while people use the site, and the controller is killed on the way: the next one
//! goes on, there or back. Nothing acknowledged is lost, nothing is there twice.

use std::fs;
use std::path::PathBuf;

use banyan_e2e::Installation;

use crate::moves::{data, disk};
use crate::resume::{At, kill_at, newest_journal, steps_after, undone};
use crate::scenario::Loaded;
use crate::servers::{kinds, proxied, set};

/// Requests per second: few, for the moves and the kills are what takes time.
const RATE: u32 = 25;
const THERE: &[&str] = &["apply"];
const BACK: &[&str] = &["apply", "--revert"];

/// As far as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    /// Without names: a server that the killed controller had stopped is a new one to the next plan.
    servers: Vec<String>,
    /// Whether the primary's files are on the other disk.
    disk: bool,
    /// Whether a server has the port that banyan.toml says.
    has_port: bool,
}

struct Moving {
    loaded: Loaded,
    old_file: String,
    old_port: u16,
    before: Standing,
}

impl Moving {
    async fn begin() -> Self {
        let mut manifest = proxied(&["replicas = 1"]);
        manifest.count = 1;
        let mut loaded = Loaded::of(manifest, RATE).await;
        let it = &mut loaded.installation;
        let old_file = fs::read_to_string(it.manifest_path()).unwrap();
        let old_port = it.database_port();
        let before = standing(it, old_port).await;
        it.move_database();
        disk(it, "disk");
        let keys = ["replicas = 1", "max_connections = 150", "dir = \"disk\""];
        set(&mut it.manifest, &keys);
        it.write_manifest();
        Self {
            loaded,
            old_file,
            old_port,
            before,
        }
    }

    /// To its end, or until the controller is killed; then another one goes on.
    async fn go(&mut self, verb: &[&str], kill: Option<At>) {
        let what = match kill {
            None => verb.join(" "),
            Some(at) => format!("{}, killed at {at:?}", verb.join(" ")),
        };
        self.loaded
            .during(&what, async |it| {
                let Some(at) = kill else {
                    it.verb(verb).await;
                    return;
                };
                let known = newest_journal(it).filter(|_| verb == THERE);
                let asked = it.command(verb).start().unwrap();
                kill_at(it, known.as_deref(), at).await;
                drop(asked);
                it.start_controller();
                it.settled().await;
            })
            .await;
    }

    /// What was set aside is planned anew; then nothing is left to do.
    async fn nothing_is_left(&self) {
        let it = &self.loaded.installation;
        it.verb(THERE).await;
        let plan = it.try_verb(&["plan"]).await;
        assert_eq!(plan.code(), 0, "{}\n{}", plan.output(), it.logs());
    }

    async fn has_moved(&self) {
        self.nothing_is_left().await;
        let it = &self.loaded.installation;
        let now = standing(it, it.database_port()).await;
        let wanted = Standing {
            disk: true,
            ..self.before.clone()
        };
        assert_eq!(now, wanted, "{}", it.logs());
    }

    async fn is_back(&self) {
        let it = &self.loaded.installation;
        self.nothing_is_left().await;
        assert_eq!(standing(it, self.old_port).await, self.before, "{}", it.logs());
    }

    async fn end(self) {
        let (mut installation, report) = self.loaded.judged().await;
        let failures = report.failures();
        assert!(
            failures.is_empty(),
            "{report}\n{}\n{}",
            report.explain(20),
            installation.logs()
        );
        installation.down().await;
    }
}

async fn standing(installation: &Installation, port: u16) -> Standing {
    let mut servers: Vec<String> = kinds(installation)
        .await
        .iter()
        .filter_map(|server| Some(server.split_once('=')?.1.to_owned()))
        .collect();
    servers.sort();
    let status = installation.status().await;
    let rows = status["children"].as_array().unwrap();
    let primary: PathBuf = data(installation).await;
    Standing {
        servers,
        disk: primary.starts_with(fs::canonicalize(installation.dir()).unwrap().join("disk")),
        has_port: rows.iter().any(|row| row["port"] == port),
    }
}

/// Returns how many steps the move has.
pub(crate) async fn there(kill: Option<At>) -> usize {
    let mut moving = Moving::begin().await;
    let before = newest_journal(&moving.loaded.installation);
    moving.go(THERE, kill).await;
    let steps = steps_after(&moving.loaded.installation, before.as_deref());
    moving.has_moved().await;
    moving.end().await;
    steps
}

/// Returns which steps were undone.
pub(crate) async fn back(kill: Option<At>) -> Vec<usize> {
    let mut moving = Moving::begin().await;
    moving.go(THERE, None).await;
    // The next controller would go there again, if the file still said so.
    let file = moving.loaded.installation.manifest_path();
    fs::write(file, &moving.old_file).unwrap();
    moving.go(BACK, kill).await;
    let undone = undone(&moving.loaded.installation);
    moving.is_back().await;
    moving.end().await;
    undone
}

/// The change of the primary is the step with most to lose; `make drill` kills at each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_killed_as_the_primary_moves_ends_where_the_next_one_was_told_under_load() {
    there(Some(At::Switchover)).await;
    back(Some(At::SwitchoverBack)).await;
}
