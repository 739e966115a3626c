//! Certificates from a CA that judges by itself whether domains are ours (`tls = "acme"`), asked for and renewed here; the edge
//! answers the CA and takes up what is written.
//!
//! One task, which owns the account and the certificate's file. It learns from [`Handle::want`] what is wanted, publishes
//! answers in the edge's snapshot (so any edge answers), waits until the edge serves them, and takes them back. Failures keep the
//! former certificate and are tried again (see `renewal`).

mod order;
mod renewal;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::{Acme, Certificates};
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_tls::Pair;
use banyan_tls::local::Local;
use banyan_topology::Topology;
use banyan_topology::report::EdgeReport;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::driver::publisher::Publisher;
use order::{Answers, OrderError};
use renewal::Kept;

/// For the edge to serve answers; it takes a snapshot within milliseconds.
const SERVED: Duration = Duration::from_secs(20);

/// What the topology asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    acme: Acme,
    domains: Vec<String>,
}

/// Tells the task what is wanted, and people what is wrong.
pub(crate) struct Handle {
    wanted: watch::Sender<Option<Wanted>>,
    problem: watch::Receiver<Option<String>>,
}

struct Keeper {
    local: Local,
    publisher: Arc<Publisher>,
    reports: watch::Receiver<Option<EdgeReport>>,
    wanted: watch::Receiver<Option<Wanted>>,
    problem: watch::Sender<Option<String>>,
    jitter: f64,
}

pub(crate) fn start(
    local: Local,
    publisher: Arc<Publisher>,
    reports: watch::Receiver<Option<EdgeReport>>,
    tasks: &Tasks,
) -> Handle {
    let (wanted, wants) = watch::channel(None);
    let (problems, problem) = watch::channel(None);
    let keeper = Keeper {
        local,
        publisher,
        reports,
        wanted: wants,
        problem: problems,
        // Installations differ by it; it need not be more.
        jitter: f64::from(std::process::id() % 100) / 100.0,
    };
    tasks.spawn(TaskKind::Background, "certificates", keeper.run());
    Handle { wanted, problem }
}

impl Handle {
    pub(crate) fn want(&self, topology: &Topology) {
        let tls = topology.edge.as_ref().and_then(|edge| edge.settings.tls.as_ref());
        let wanted = tls.and_then(|tls| match &tls.certificates {
            Certificates::Acme(acme) => Some(Wanted {
                acme: acme.clone(),
                domains: tls.domains.clone(),
            }),
            Certificates::SelfSigned | Certificates::Files(_) => None,
        });
        self.wanted.send_if_modified(|before| {
            let differs = *before != wanted;
            *before = wanted;
            differs
        });
    }

    /// Why the last try failed, and when the next is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }
}

impl Keeper {
    /// Ends with its handle.
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let pause = match &wanted {
                None => None,
                Some(_) if failures > 0 => Some(renewal::pause(failures)),
                Some(wanted) => Some(self.wait(wanted)),
            };
            let changed = match pause {
                None => self.wanted.changed().await,
                Some(pause) => tokio::select! {
                    changed = self.wanted.changed() => changed,
                    () = sleep(pause) => Ok(()),
                },
            };
            if changed.is_err() {
                return;
            }
            if *self.wanted.borrow() != wanted {
                failures = 0;
                self.problem.send_replace(None);
                continue;
            }
            if let Some(wanted) = wanted
                && (failures > 0 || self.wait(&wanted).is_zero())
            {
                failures = self.attempt(&wanted, failures).await;
            }
        }
    }

    fn wait(&self, wanted: &Wanted) -> Duration {
        let now = unix_seconds();
        let path = self.local.acme();
        let kept = Pair::read(&path, &path, now).ok().map(|pair| Kept {
            names: pair.names.into_iter().collect(),
            not_before: pair.not_before,
            not_after: pair.not_after,
        });
        let names: BTreeSet<String> = wanted.domains.iter().cloned().collect();
        renewal::wait(kept.as_ref(), &names, now, self.jitter)
    }

    /// How many failures in a row there are now.
    async fn attempt(&mut self, wanted: &Wanted, failures: usize) -> usize {
        let obtained = self.obtain(wanted).await;
        if let Err(error) = self.publisher.challenge(Answers::new(), self.reported()) {
            tracing::warn!(%error, "answers for the CA could not be taken back");
        }
        match obtained {
            Ok(pair) => {
                tracing::info!(names = ?pair.names, until = pair.not_after, "the CA made a certificate");
                self.problem.send_replace(None);
                0
            }
            Err(error) => {
                let why = crate::driver::chain(&error);
                let again = renewal::pause(failures + 1);
                tracing::warn!(why, ?again, "no certificate from the CA; what there is is served");
                let seconds = again.as_secs();
                self.problem
                    .send_replace(Some(format!("{why}; tried again {seconds} s after that")));
                failures + 1
            }
        }
    }

    async fn obtain(&mut self, wanted: &Wanted) -> Result<Pair, OrderError> {
        // An order before the edge serves could only fail.
        let listens = |report: &Option<EdgeReport>| report.as_ref().is_some_and(|r| !r.listening.is_empty());
        // Without reports there will be no edge either: serving the answers says so.
        drop(self.reports.wait_for(listens).await);
        let account = self.local.acme_account();
        let this = &*self;
        let publish = |answers: Answers| this.serve(answers);
        let ordered = order::run(&wanted.acme, &wanted.domains, &account, publish);
        let (request, chain) = Box::pin(ordered).await?;
        Ok(request.keep(&chain, &self.local.acme(), unix_seconds())?)
    }

    fn reported(&self) -> banyan_topology::Epoch {
        self.reports
            .borrow()
            .as_ref()
            .map(|r| r.epoch)
            .unwrap_or_default()
    }

    /// Returns when every core of the edge answers so.
    async fn serve(&self, answers: Answers) -> Result<(), String> {
        let published = self.publisher.challenge(answers, self.reported());
        let epoch = match published.map_err(|error| crate::driver::chain(&error))? {
            Some(epoch) => epoch,
            None => return Err("there is no edge to answer the CA".to_owned()),
        };
        let mut reports = self.reports.clone();
        let served = |report: &Option<EdgeReport>| report.as_ref().is_some_and(|r| r.epoch >= epoch);
        match timeout(SERVED, reports.wait_for(served)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err("the edge does not serve the answers for the CA".to_owned()),
        }
    }
}

fn unix_seconds() -> i64 {
    i64::try_from(Clock.unix_ms() / 1000).unwrap_or(i64::MAX)
}
