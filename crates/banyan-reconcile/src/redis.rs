//! How the managed Redis servers are, asked now and then: for `status`, metrics and warnings.
//!
//! One task: it learns from `Handle::want` which there are, asks each for `INFO`, and publishes what it heard last.

pub mod audit;
pub mod counted;
pub mod external;
mod metrics;

use std::time::Duration;

use banyan_config::Purpose;
use banyan_runtime::{TaskKind, Tasks};
use banyan_supervisor::engine::redis::Server;
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) use metrics::families;

use crate::driver::chain;
use crate::proto::RedisState;

/// Counters move slowly, and a person who looks wants fresh ones.
const LOOK: Duration = Duration::from_secs(2);
/// Fuller than this, a person must do something before writes are refused.
pub const ALMOST_FULL: f64 = 0.8;

/// Tells the task what is wanted, and people how it is.
pub(crate) struct Handle {
    wanted: watch::Sender<Vec<Server>>,
    states: watch::Receiver<Vec<RedisState>>,
}

struct Watcher {
    wanted: watch::Receiver<Vec<Server>>,
    states: watch::Sender<Vec<RedisState>>,
}

pub(crate) fn start(tasks: &Tasks) -> Handle {
    let (wanted, wants) = watch::channel(Vec::new());
    let (states, state) = watch::channel(Vec::new());
    let watcher = Watcher {
        wanted: wants,
        states,
    };
    tasks.spawn(TaskKind::Background, "redis watch", watcher.run());
    Handle {
        wanted,
        states: state,
    }
}

impl Handle {
    pub(crate) fn want(&self, servers: Vec<Server>) {
        self.wanted.send_if_modified(|before| {
            let differs = *before != servers;
            if differs {
                *before = servers;
            }
            differs
        });
    }

    pub(crate) fn states(&self) -> Vec<RedisState> {
        self.states.borrow().clone()
    }
}

impl Watcher {
    /// Ends with the handle.
    async fn run(mut self) {
        // Those that know the user of edges: one of an earlier Banyan runs on without it.
        let mut open: Vec<Server> = Vec::new();
        loop {
            let servers = self.wanted.borrow_and_update().clone();
            let mut states = Vec::new();
            for server in &servers {
                states.push(look(server).await);
                if !open.contains(server) && server.let_edges_in().await.is_ok() {
                    open.push(server.clone());
                }
            }
            open.retain(|server| servers.contains(server));
            self.warn(&states);
            self.states.send_replace(states);
            if let Ok(Err(_ended)) = timeout(LOOK, self.wanted.changed()).await {
                return;
            }
        }
    }

    /// Once, when it begins.
    fn warn(&self, states: &[RedisState]) {
        let before = self.states.borrow();
        for state in states {
            let known = before.iter().find(|known| known.purpose == state.purpose);
            let old = known.map(RedisState::problems).unwrap_or_default();
            let begun = state
                .problems()
                .into_iter()
                .filter(|problem| !old.contains(problem));
            begun.for_each(|problem| tracing::warn!(purpose = %state.purpose, "{problem}"));
        }
    }
}

async fn look(server: &Server) -> RedisState {
    let info = server.info().await;
    let problem = info.as_ref().err().map(|error| chain(error));
    RedisState {
        purpose: server.redis.purpose,
        port: server.redis.port,
        info: info.ok(),
        problem,
    }
}

impl RedisState {
    /// What a person should do something about, a sentence each.
    pub fn problems(&self) -> Vec<String> {
        let purpose = self.purpose;
        let mut found: Vec<String> = self
            .problem
            .iter()
            .map(|problem| format!("the Redis of {purpose} does not answer: {problem}"))
            .collect();
        let Some(info) = &self.info else { return found };
        if info.loading {
            found.push(format!(
                "the Redis of {purpose} still reads its data from the disk"
            ));
        }
        if !info.persists {
            found.push(format!(
                "the Redis of {purpose} cannot write to its disk, so it refuses writes: make room there"
            ));
        }
        // A cache is meant to be full.
        if purpose == Purpose::Sessions && info.fill().is_some_and(|fill| fill >= ALMOST_FULL) {
            found.push(format!(
                "the Redis of {purpose} is over {:.0} % full; when it is full, writes are refused: raise {purpose}.memory",
                ALMOST_FULL * 100.0
            ));
        }
        found
    }
}
