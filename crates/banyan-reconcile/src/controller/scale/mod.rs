//! The scaling loop's half that decides: what was measured becomes an [`Observation`], [`decide`] a number for each
//! process. The controller's loop makes it true by the same way as every change.
//!
//! What it remembers is in `.banyan/scale.json`; without that file it begins anew and lets nothing go for a while.

mod diary;
mod meter;
mod observation;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use banyan_capacity::autoscale::{Activity, Decision, HostRoom, Observation, State, TICK, decide};
use banyan_config::Scale;
use banyan_runtime::watched;
use banyan_supervisor::ChildStatus;
use banyan_topology::report::{EdgeReport, EndpointReport, PgproxyReport};
use banyan_topology::{Edge, Process, ProcessName, Topology};
use serde::{Deserialize, Serialize};

use crate::execute;
use crate::proto::{Autoscale, Decided, ScaleChange, ScaledProcess};
use diary::Diary;
pub use diary::read as read_decisions;
use meter::Meter;

/// Until a start was measured.
const START: Duration = Duration::from_secs(10);
/// A question may come so much early: the loop that asks has a beat of its own.
const EARLY: Duration = Duration::from_millis(200);
/// Starts that are remembered; changes that are shown.
const STARTS: usize = 10;
const SHOWN: usize = 20;
const AT_ONCE: u32 = execute::AT_ONCE as u32;
/// After a change that failed: twice as long each time.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_MOST: Duration = Duration::from_secs(600);
/// Share of the machine's CPUs from which on it is full.
const FULL: f64 = 0.95;
/// What is learned of days is written down this often.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Everything that is known of processes whose number follows their load.
pub(in crate::controller) struct Scaling {
    file: PathBuf,
    cores: f64,
    kept: Kept,
    meters: BTreeMap<ProcessName, Meter>,
    decisions: BTreeMap<ProcessName, (Decision, Decided)>,
    /// When each was asked for last.
    asked: BTreeMap<ProcessName, Instant>,
    diary: Diary,
    /// CPU time of all children, when it was last looked at.
    used: Option<(Instant, u64)>,
    failed: Option<Failed>,
    saved: Option<Instant>,
}

/// What outlives the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Kept {
    /// Since when nothing is changed, in Unix ms.
    #[serde(default)]
    paused: Option<u64>,
    #[serde(default)]
    states: BTreeMap<ProcessName, State>,
    /// How fast the time in each state runs; absent: as the clock.
    #[serde(default)]
    speeds: BTreeMap<ProcessName, u32>,
    /// How long instances took from start to readiness.
    #[serde(default)]
    starts: BTreeMap<ProcessName, VecDeque<Duration>>,
    /// Newest last.
    #[serde(default)]
    changes: VecDeque<ScaleChange>,
}

struct Failed {
    error: String,
    times: u32,
    until: Instant,
}

/// What the controller's loop knows at a tick.
pub(in crate::controller) struct Sight<'a> {
    pub(in crate::controller) now: Instant,
    pub(in crate::controller) unix_ms: u64,
    pub(in crate::controller) topology: &'a Topology,
    /// As the edge's first process sees them.
    pub(in crate::controller) endpoints: &'a [EndpointReport],
    pub(in crate::controller) pgproxy: Option<&'a PgproxyReport>,
    pub(in crate::controller) children: &'a [ChildStatus],
    pub(in crate::controller) activity: Activity,
    /// What a scaling that is under way will lead to.
    pub(in crate::controller) coming: &'a BTreeMap<ProcessName, u32>,
}

impl Scaling {
    /// `decisions`: the file that they are noted in. `cores`: of this machine.
    pub(in crate::controller) fn new(file: PathBuf, decisions: PathBuf, cores: usize, unix_ms: u64) -> Self {
        let mut kept: Kept = match watched::read(&file) {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "what was known of the load is lost");
                Kept::default()
            }
        };
        for (process, state) in &mut kept.states {
            let speed = kept.speeds.get(process).copied().unwrap_or(1);
            *state = std::mem::take(state).resumed(observation::time(unix_ms, speed));
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
        let cores = cores as f64;
        Self {
            file,
            cores,
            kept,
            meters: BTreeMap::new(),
            decisions: BTreeMap::new(),
            asked: BTreeMap::new(),
            diary: Diary::new(decisions),
            used: None,
            failed: None,
            saved: None,
        }
    }

    pub(in crate::controller) fn heard(&mut self, now: Instant, topology: &Topology, report: &EdgeReport) {
        for process in scaled(topology) {
            let meter = self.meters.entry(process.name.clone()).or_default();
            meter.keep(topology.edge.iter().flat_map(Edge::everywhere));
            meter.take(now, &process.name, report);
        }
    }

    /// How many instances there should be of which processes; empty: all is as it should be, or it is paused.
    pub(in crate::controller) fn tick(&mut self, sight: &Sight<'_>) -> BTreeMap<ProcessName, u32> {
        let host = self.host(sight);
        let names: Vec<ProcessName> = scaled(sight.topology)
            .map(|process| process.name.clone())
            .collect();
        self.meters.retain(|name, _| names.contains(name));
        self.asked.retain(|name, _| names.contains(name));
        self.decisions.retain(|name, _| names.contains(name));
        let mut wanted = BTreeMap::new();
        for process in scaled(sight.topology) {
            let Some(scale) = &process.settings.scale else {
                continue;
            };
            if !self.is_due(process, sight.now) {
                continue;
            }
            self.asked.insert(process.name.clone(), sight.now);
            let Some(seen) = self.observe(process, scale, sight, host) else {
                continue;
            };
            let decision = self.decide(&process.name, scale, &seen, sight.unix_ms);
            if decision.want != seen.running() && !scale.shadow {
                wanted.insert(process.name.clone(), decision.want);
            }
        }
        let due = |then: Instant| sight.now.saturating_duration_since(then) >= SAVE_EVERY;
        if !names.is_empty() && self.saved.is_none_or(due) {
            self.save(sight.now);
        }
        let waits = self
            .failed
            .as_ref()
            .is_some_and(|failed| sight.now < failed.until);
        if self.kept.paused.is_some() || waits {
            wanted.clear();
        }
        wanted
    }

    /// Whether [`Self::tick`] has something to ask now.
    pub(in crate::controller) fn due(&self, now: Instant, topology: &Topology) -> bool {
        scaled(topology).any(|process| self.is_due(process, now))
    }

    fn is_due(&self, process: &Process, now: Instant) -> bool {
        let speed = process.settings.scale.as_ref().map_or(1, |scale| scale.speed);
        self.asked
            .get(&process.name)
            .is_none_or(|asked| now.saturating_duration_since(*asked) + EARLY >= TICK / speed)
    }

    fn decide(&mut self, name: &ProcessName, scale: &Scale, seen: &Observation, unix_ms: u64) -> Decision {
        let speed = self.kept.speeds.insert(name.clone(), scale.speed).unwrap_or(1);
        // What was learned at another speed is of other times.
        let state = self.kept.states.remove(name).filter(|_| speed == scale.speed);
        let (decision, state) = decide(scale, state.unwrap_or_default(), seen);
        self.kept.states.insert(name.clone(), state);
        let decision = decision.slower(f64::from(scale.speed));
        let decided = observation::decided(name, scale, seen, &decision, unix_ms);
        self.diary.note(&decided);
        self.decisions.insert(name.clone(), (decision.clone(), decided));
        decision
    }

    /// The last decisions, with all that led to them.
    pub(in crate::controller) fn explained(&self) -> Vec<Decided> {
        self.decisions
            .values()
            .map(|(_, decided)| decided.clone())
            .collect()
    }

    fn observe(
        &mut self,
        process: &Process,
        scale: &Scale,
        sight: &Sight<'_>,
        host: HostRoom,
    ) -> Option<Observation> {
        let start = self.start(&process.name);
        let meter = self.meters.entry(process.name.clone()).or_default();
        observation::observe(meter, process, scale, sight, start, host)
    }

    /// Whether all children together leave the machine no CPU.
    fn host(&mut self, sight: &Sight<'_>) -> HostRoom {
        let used: u64 = sight.children.iter().filter_map(|child| child.cpu_ms).sum();
        let before = self.used.replace((sight.now, used));
        let Some((then, before)) = before else {
            return HostRoom::Room;
        };
        let seconds = sight.now.saturating_duration_since(then).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let busy = used.saturating_sub(before) as f64 / 1000.0 / seconds.max(0.1) / self.cores;
        if busy > FULL {
            HostRoom::Full
        } else {
            HostRoom::Room
        }
    }

    /// The slow end of the last starts.
    fn start(&self, process: &ProcessName) -> Duration {
        let mut starts: Vec<Duration> = self
            .kept
            .starts
            .get(process)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        starts.sort_unstable();
        let slow = starts.len() * 9 / 10;
        starts.get(slow).copied().unwrap_or(START)
    }

    /// Says what the loop has done, and how long it took.
    pub(in crate::controller) fn changed(
        &mut self,
        now: Instant,
        unix_ms: u64,
        before: &Topology,
        wanted: &BTreeMap<ProcessName, u32>,
        took: Duration,
    ) {
        self.failed = None;
        for (process, to) in wanted {
            let from = instances(process, before);
            if *to > from {
                let starts = self.kept.starts.entry(process.clone()).or_default();
                // As many start at once as the executor lets.
                starts.push_back(took / (to - from).div_ceil(AT_ONCE));
                if starts.len() > STARTS {
                    starts.pop_front();
                }
            }
            let why = self
                .decisions
                .get(process)
                .map(|(decision, _)| decision.reason.to_string());
            self.kept.changes.push_back(ScaleChange {
                unix_ms,
                process: process.clone(),
                from,
                to: *to,
                why: why.unwrap_or_default(),
            });
            if self.kept.changes.len() > SHOWN {
                self.kept.changes.pop_front();
            }
        }
        self.save(now);
    }

    pub(in crate::controller) fn failed(&mut self, now: Instant, error: String) {
        let times = self.failed.as_ref().map_or(0, |failed| failed.times) + 1;
        let wait = RETRY.saturating_mul(1 << (times - 1).min(8)).min(RETRY_MOST);
        tracing::warn!(error, wait_s = wait.as_secs(), "scaling failed");
        self.failed = Some(Failed {
            error,
            times,
            until: now + wait,
        });
    }

    pub(in crate::controller) fn pause(&mut self, now: Instant, unix_ms: u64) {
        self.kept.paused.get_or_insert(unix_ms);
        self.save(now);
    }

    pub(in crate::controller) fn go_on(&mut self, now: Instant) {
        self.kept.paused = None;
        self.failed = None;
        self.save(now);
    }

    fn save(&mut self, now: Instant) {
        self.saved = Some(now);
        if let Err(error) = watched::publish(&self.file, &self.kept) {
            tracing::warn!(%error, "what is known of the load was not written down");
        }
    }

    /// For people; `None`: no number follows its load.
    pub(in crate::controller) fn shown(&self, topology: &Topology) -> Option<Autoscale> {
        let processes: Vec<ScaledProcess> = scaled(topology)
            .filter_map(|process| {
                let scale = process.settings.scale.as_ref()?;
                let decision = self.decisions.get(&process.name).map(|(decision, _)| decision);
                let guards = decision.iter().flat_map(|decision| &decision.guards);
                Some(ScaledProcess {
                    process: process.name.clone(),
                    min: scale.min,
                    max: scale.max,
                    count: instances(&process.name, topology),
                    want: decision.map(|decision| decision.want),
                    need: decision.map(|decision| decision.need),
                    why: decision.map(|decision| decision.reason.to_string()),
                    guards: guards.map(ToString::to_string).collect(),
                    shadow: scale.shadow,
                })
            })
            .collect();
        (!processes.is_empty()).then(|| Autoscale {
            paused_ms: self.kept.paused,
            problem: self.failed.as_ref().map(|failed| failed.error.clone()),
            processes,
            changes: self.kept.changes.iter().cloned().collect(),
        })
    }
}

/// How often [`Scaling::due`] is to be asked.
pub(in crate::controller) const EVERY: Duration = Duration::from_secs(1);

/// Whether any number follows its load.
pub(in crate::controller) fn follows(topology: &Topology) -> bool {
    scaled(topology).next().is_some()
}

fn scaled(topology: &Topology) -> impl Iterator<Item = &Process> {
    let processes = topology.processes.values();
    processes.filter(|process| process.settings.scale.is_some())
}

pub(in crate::controller) fn instances(process: &ProcessName, topology: &Topology) -> u32 {
    let of = topology.instances.keys().filter(|id| id.process == *process);
    u32::try_from(of.count()).unwrap_or(u32::MAX)
}
