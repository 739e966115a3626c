//! What happened though nobody asked for it, for the axis of time: a process died, another server leads the database.
//!
//! One task compares what is measured, each second; what it finds is a line of `observe/happened.jsonl`, so that marks outlive
//! the role. What happened while no observe ran is not known. Limits: the latest [`MOST`]; the same thing once a minute.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::task;
use banyan_topology::NodeId;
use banyan_topology::snapshot::observe::Layout;
use tokio::time::sleep;

use crate::collect::Round;
use crate::control::Parts;
use crate::marks::{MOST, Mark};
use crate::view::node_child;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What dies again and again is one mark in so long.
const AGAIN_MS: u64 = 60_000;
const RESTARTS: &str = "banyan_child_restarts_total";

/// Until the role ends.
pub(crate) async fn run(parts: Parts) {
    let path = parts.places.state_dir.join("observe").join("happened.jsonl");
    let file = path.clone();
    let known = task::blocking(move || read(&file)).await.unwrap_or_default();
    parts.happened.send_replace(known);
    let mut witness = Witness::default();
    loop {
        sleep(LOOK_EVERY).await;
        let new = {
            let (snapshot, rounds) = (parts.snapshot.borrow(), parts.rounds.borrow());
            rounds.newest().map(|round| witness.look(&snapshot.layout, round))
        };
        let new = new.unwrap_or_default();
        if new.is_empty() {
            continue;
        }
        let mut all = parts.happened.borrow().clone();
        all.extend(new);
        all.drain(..all.len().saturating_sub(MOST));
        parts.happened.send_replace(all.clone());
        let file = path.clone();
        if let Ok(Err(error)) = task::blocking(move || write(&file, &all)).await {
            tracing::warn!(%error, "what happened is not on the disk: a restart would forget it");
        }
    }
}

fn read(path: &Path) -> Vec<Mark> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let marks = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    marks.collect()
}

/// All of them, in place of what was there: they are few.
fn write(path: &Path, marks: &[Mark]) -> io::Result<()> {
    let mut lines = Vec::new();
    for mark in marks {
        serde_json::to_writer(&mut lines, mark)?;
        lines.push(b'\n');
    }
    let new = PathBuf::from(format!("{}.new", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::File::create(&new)?.write_all(&lines)?;
    fs::rename(new, path)
}

/// What was seen last. Pure.
#[derive(Debug, Default)]
struct Witness {
    at_ms: u64,
    primary: Option<NodeId>,
    /// By child, where the controller said so; nothing at first.
    restarts: Option<BTreeMap<String, f64>>,
    said: BTreeMap<String, u64>,
}

impl Witness {
    /// What is new in this round; one that was seen already says nothing.
    fn look(&mut self, layout: &Layout, round: &Round) -> Vec<Mark> {
        if round.at_ms <= self.at_ms {
            return Vec::new();
        }
        self.at_ms = round.at_ms;
        let died = self.died(round);
        let led = std::mem::replace(&mut self.primary, layout.primary);
        let taken_over = led.zip(layout.primary).filter(|(old, new)| old != new);
        let mut all: Vec<(String, bool)> = Vec::new();
        if let Some((old, new)) = taken_over {
            let child = node_child(&old.to_string());
            let down = number(round, "banyan_child_up", &child) != Some(1.0);
            all.push((format!("{new} leads"), down || died.contains(&child)));
        }
        all.extend(died.into_iter().map(|child| (format!("{child} died"), true)));
        all.retain(|(what, _)| {
            let before = self.said.insert(what.clone(), round.at_ms);
            before.is_none_or(|before| before + AGAIN_MS <= round.at_ms)
        });
        self.said.retain(|_, said_ms| *said_ms + AGAIN_MS > round.at_ms);
        let mark = |(what, bad)| Mark {
            at_ms: round.at_ms,
            what,
            bad,
        };
        all.into_iter().map(mark).collect()
    }

    /// Whose restarts have become more. While the controller says nothing, what it said before stands.
    fn died(&mut self, round: &Round) -> Vec<String> {
        let of_child = round.values.iter().filter(|(series, _)| series.name == RESTARTS);
        let now: BTreeMap<String, f64> = of_child
            .filter_map(|(series, count)| Some((series.label("child")?.to_owned(), *count)))
            .collect();
        if now.is_empty() {
            return Vec::new();
        }
        let Some(before) = self.restarts.replace(now.clone()) else {
            return Vec::new();
        };
        let more = |(child, count): &(String, f64)| *count > before.get(child).copied().unwrap_or(0.0);
        now.into_iter().filter(more).map(|(child, _)| child).collect()
    }
}

fn number(round: &Round, name: &str, child: &str) -> Option<f64> {
    let mut values = round.values.iter();
    let found = values.find(|(series, _)| series.name == name && series.label("child") == Some(child));
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Series;

    fn round(at_s: u64, restarts: &[(&str, f64)], down: &str) -> Round {
        let of = |name: &str, child: &str, value| (Series::new(name, &[("child", child)]), value);
        let all = restarts.iter().flat_map(|(child, count)| {
            let up = if *child == down { 0.0 } else { 1.0 };
            [of(RESTARTS, child, *count), of("banyan_child_up", child, up)]
        });
        Round {
            at_ms: at_s * 1000,
            values: all.collect(),
        }
    }

    fn led_by(node: &str) -> Layout {
        Layout {
            primary: Some(node.parse().unwrap()),
            ..Layout::default()
        }
    }

    fn said(marks: Vec<Mark>) -> Vec<String> {
        let said = |mark: Mark| format!("{}{}", mark.what, if mark.bad { " !" } else { "" });
        marks.into_iter().map(said).collect()
    }

    #[test]
    fn what_died_is_told_once_a_minute_and_not_what_was_so_before() {
        let mut witness = Witness::default();
        let mut look = |at_s, count| {
            let round = round(at_s, &[("web.1@r3", count)], "");
            said(witness.look(&Layout::default(), &round))
        };
        assert_eq!(look(10, 4.0), [""; 0]);
        assert_eq!(look(20, 5.0), ["web.1@r3 died !"]);
        assert_eq!(look(20, 6.0), [""; 0], "the same round");
        assert_eq!(look(30, 6.0), [""; 0]);
        assert_eq!(look(100, 7.0), ["web.1@r3 died !"]);
    }

    #[test]
    fn another_primary_is_told_and_whether_the_old_one_was_lost() {
        let both = [("postgres", 0.0), ("postgres-db2", 0.0)];
        let mut witness = Witness::default();
        assert_eq!(said(witness.look(&led_by("db1"), &round(10, &both, ""))), [""; 0]);
        assert_eq!(
            said(witness.look(&led_by("db2"), &round(20, &both, "postgres"))),
            ["db2 leads !"]
        );
        // As a plan has it.
        assert_eq!(
            said(witness.look(&led_by("db1"), &round(90, &both, ""))),
            ["db1 leads"]
        );
        // The controller that measures is dead: nothing is known, nothing is told.
        assert_eq!(said(witness.look(&led_by("db1"), &round(99, &[], ""))), [""; 0]);
    }

    #[test]
    fn marks_outlive_the_role() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("observe/happened.jsonl");
        let mark = Mark {
            at_ms: 7,
            what: "edge died".to_owned(),
            bad: true,
        };
        assert_eq!(read(&path), []);
        write(&path, std::slice::from_ref(&mark)).unwrap();
        assert_eq!(read(&path), [mark]);
    }
}
