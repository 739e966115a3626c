//! How steps become true. The executor knows only this trait; [`Local`] is this machine.

mod database;
mod edge;
mod failover;
mod instances;
mod judge;
mod local;
mod observe;
mod one_off;
mod pgproxy;
mod program;
pub(crate) mod publisher;
mod redis;
mod specs;
mod survivors;
mod trial;
mod wait;

use std::future::Future;
use std::pin::Pin;

use banyan_supervisor::ChildStatus;
use banyan_supervisor::engine::postgres::backup::{Backup, Kind};
use banyan_topology::{Process, Release, Step, Topology};
use tokio::sync::mpsc;

pub use local::Local;
pub(crate) use local::chain;
pub use one_off::{OneOff, OneOffError};
pub(crate) use specs::Specs;

use crate::controller::Loaded;
use crate::proto::{BackupNow, BackupState, RedisState, Trial};

/// Why a step could not be performed: what failed, its causes, the next action. The system is as before the step.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StepError(pub String);

/// A step with the topologies around it.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    pub step: &'a Step,
    pub before: &'a Topology,
    /// `before` with the step applied: what snapshots show once the step is performed.
    pub after: &'a Topology,
}

/// An instance to be tried outside the rotation.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// What runs now: the database to use.
    pub topology: &'a Topology,
    pub release: &'a Release,
    pub process: &'a Process,
    pub port: u16,
}

/// Resolves when the primary has failed.
pub type Failing = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Writes down a topology, durably, before anybody is told of it. `Err`: why not, in words.
pub type Save<'a> = dyn Fn(&Topology) -> Result<(), String> + Send + Sync + 'a;

/// What a mended failure has led to.
#[derive(Debug)]
pub struct Mended {
    pub topology: Topology,
    /// What people should know.
    pub notes: Vec<String>,
}

pub trait Driver: Send + Sync + 'static {
    /// What launches need beyond the topology (secrets, folders): before anything else, and whenever it changes.
    /// Returns what people should know.
    fn equip(&self, loaded: &Loaded) -> Vec<String>;

    /// SHA-256 of the program that an edge would be started from now, in hex; `None`: not known.
    fn edge_program(&self) -> Option<String> {
        None
    }

    /// Takes over what an earlier controller left running, as far as `expected` describes it; stops the rest.
    /// Returns what people should know.
    fn adopt(&self, expected: &Topology) -> impl Future<Output = Vec<String>> + Send;

    /// `expected` without what does not exist any more.
    fn observe(&self, expected: &Topology) -> impl Future<Output = Topology> + Send;

    /// Makes the step true and returns once its postcondition holds. Idempotent: a step that a killed controller had
    /// begun is performed again. `Ok`: a note for people, if any.
    fn perform(&self, step: Move<'_>) -> impl Future<Output = Result<Option<String>, StepError>> + Send;

    /// What people should know while this step is performed and takes its time; never, if there is nothing.
    fn hint(&self, _step: &Step) -> impl Future<Output = String> + Send {
        std::future::pending()
    }

    /// Stops children that `topology` does not hold and publishes its snapshots: after a change was cut short.
    fn settle(&self, topology: &Topology) -> impl Future<Output = Vec<String>> + Send;

    /// Why there is no certificate from a CA that should make one; `None`: nothing is wrong.
    fn certificate_problem(&self) -> Option<String> {
        None
    }

    /// How the managed Redis servers are.
    fn redis(&self) -> Vec<RedisState> {
        Vec::new()
    }

    /// How backups are; `None`: there are none.
    fn backups(&self) -> Option<BackupState> {
        None
    }

    /// Makes a backup now. `Err`: why not, in words.
    fn back_up(
        &self,
        _kind: Option<Kind>,
        _progress: mpsc::UnboundedSender<BackupNow>,
    ) -> impl Future<Output = Result<Backup, String>> + Send {
        std::future::ready(Err("there is nothing to back up".to_owned()))
    }

    /// Looks after what would expire while nothing changes. Called now and then, and when a topology was reached.
    fn tend(&self, topology: &Topology);

    /// Watches the primary of this topology.
    fn failing(&self, _topology: &Topology) -> Failing {
        Box::pin(std::future::pending())
    }

    /// Makes a database whole whose primary has failed, or that a killed controller left half-way between two: fences,
    /// promotes or restarts, brings back what was fenced. A whole one is left alone. `failed`: the primary is known to
    /// have failed, so statements wait from the first moment on.
    fn mend(
        &self,
        topology: &Topology,
        _failed: bool,
        _save: &Save<'_>,
    ) -> impl Future<Output = Mended> + Send {
        let topology = topology.clone();
        async {
            Mended {
                topology,
                notes: Vec::new(),
            }
        }
    }

    /// Every child, as the supervisor sees it.
    fn children(&self) -> impl Future<Output = Vec<ChildStatus>> + Send;

    /// Starts one more instance outside the rotation, judges it and stops it.
    fn trial(&self, attempt: Attempt<'_>) -> impl Future<Output = Trial> + Send;

    /// Kills everything at once.
    fn kill_all(&self) -> impl Future<Output = ()> + Send;
}
