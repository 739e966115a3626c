//! Performs what [`failover`](crate::failover) decides: watches the primary, and mends what has failed.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_config::Durability;
use banyan_runtime::Clock;
use banyan_supervisor::engine::postgres::{PostgresError, Pulse, Server};
use banyan_topology::snapshot::pgproxy::{Bound, Hold, HoldCause};
use banyan_topology::{Database, NodeId, Topology};

use super::database::reached;
use super::local::{Local, chain};
use super::pgproxy::Goal;
use super::{Failing, Mended, Save, StepError};
use crate::failover::{Action, Event, Failover, State};

const PROBE_EVERY: Duration = Duration::from_millis(500);
/// A server that says nothing for so long is busy or hangs; one that refuses is neither.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// A server that was stopped on purpose is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const SYNCHRONOUS_LIMIT: Duration = Duration::from_secs(30);
const REPLAY_LIMIT: Duration = Duration::from_secs(10);

/// One failure that is being mended.
struct Mending<'a> {
    local: &'a Local,
    topology: Topology,
    save: &'a Save<'a>,
    notes: Vec<String>,
    began: std::time::Instant,
    /// Writes are acknowledged by the new primary alone until the old one is back: they would wait for nobody.
    without_replica: bool,
}

impl Local {
    /// Resolves when the primary has failed. A stop that was asked for is no failure.
    pub(super) fn watch_primary(&self, topology: &Topology) -> Failing {
        let (Some(database), Some(_)) = (&topology.database, &topology.pgproxy) else {
            return Box::pin(std::future::pending());
        };
        let Ok(server) = self.primary(database, topology) else {
            return Box::pin(std::future::pending());
        };
        let supervisor = self.supervisor.clone();
        let database = database.clone();
        Box::pin(async move {
            let exits = async {
                while !supervisor.crashed(&server.id()).await {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            };
            tokio::select! {
                () = exits => {}
                () = hangs(&server, &database) => {}
            }
        })
    }

    /// Makes the database whole again: its primary serves, the others follow it. Nothing is done to one that is.
    pub(super) async fn mend_database(&self, topology: &Topology, failed: bool, save: &Save<'_>) -> Mended {
        let untouched = |notes| Mended {
            topology: topology.clone(),
            notes,
        };
        let Some(database) = topology.database.as_ref().filter(|_| topology.pgproxy.is_some()) else {
            return untouched(Vec::new());
        };
        let mut mending = Mending {
            local: self,
            topology: topology.clone(),
            save,
            notes: Vec::new(),
            began: Clock.now(),
            without_replica: false,
        };
        if failed {
            mending.hold();
        }
        let found = match mending.promoted_already(database).await {
            Some(node) => mending.finish_promotion(node).await,
            None => match self.primary(database, topology) {
                // One that hangs gives no answer here either.
                Ok(primary) if primary.facts().await.is_ok_and(|facts| !facts.in_recovery) => {
                    if failed {
                        self.release(topology).await;
                    }
                    return untouched(Vec::new());
                }
                Ok(_) => mending.run(Failover::new(database)).await,
                Err(error) => Err(error),
            },
        };
        if let Err(error) = found {
            mending.notes.push(error.to_string());
        }
        Mended {
            topology: mending.topology,
            notes: mending.notes,
        }
    }
}

/// Resolves when it gives no answer again and again. Only where somebody else could take its place.
async fn hangs(server: &Server, database: &Database) {
    if database.is_alone() {
        std::future::pending::<()>().await;
    }
    let mut judge = Failover::new(database);
    let mut pulse = Pulse::new(server.clone());
    while !matches!(judge.state(), State::Fencing) {
        tokio::time::sleep(PROBE_EVERY).await;
        let event = match tokio::time::timeout(PROBE_LIMIT, pulse.beat()).await {
            Ok(()) => Event::Answered,
            Err(_over) => Event::Missed,
        };
        judge.step(event);
    }
}

fn failed(error: PostgresError) -> StepError {
    StepError(chain(&error))
}

impl Mending<'_> {
    /// A replica that a killed controller had promoted: it is the primary, whatever was written down.
    async fn promoted_already(&self, database: &Database) -> Option<NodeId> {
        for node in database.replicas() {
            let server = self.server(node.id).ok()?;
            if server.facts().await.is_ok_and(|facts| !facts.in_recovery) {
                return Some(node.id);
            }
        }
        None
    }

    async fn finish_promotion(&mut self, node: NodeId) -> Result<(), StepError> {
        let old = reached(&self.topology)?.primary;
        self.local.supervisor.fence(&self.server(old)?.id()).await;
        self.become_primary(node)?;
        let server = self.server(node)?;
        // What it does beside promoting: files and slots of a primary.
        server.promote().await.map_err(failed)?;
        let bound = server.bound().await.ok();
        self.publish(bound).await?;
        self.notes.push(format!("{node} had taken over from {old}"));
        self.rejoin(old).await
    }

    /// From the first action to the last; each one's result decides the next.
    async fn run(&mut self, mut failover: Failover) -> Result<(), StepError> {
        let mut left = failover.step(Event::Exited);
        while !left.is_empty() {
            let action = left.remove(0);
            tracing::warn!(?action, ms = self.elapsed(), "the primary has failed");
            let event = match action {
                Action::Hold => {
                    self.hold();
                    continue;
                }
                action => self.perform(action).await?,
            };
            left.extend(failover.step(event));
        }
        if failover.state() == &State::Stuck {
            tracing::error!("PostgreSQL has failed and cannot be brought back without a person");
            return Err(StepError(
                "PostgreSQL has failed, and neither its primary can be started nor may a replica take over without \
                 losing what was acknowledged; its log says why: `banyan logs postgres`"
                    .to_owned(),
            ));
        }
        if let Some(why) = failover.in_place() {
            let primary = reached(&self.topology)?.primary;
            self.notes
                .push(format!("{primary} was started in its place: {why}"));
        }
        Ok(())
    }

    async fn perform(&mut self, action: Action) -> Result<Event, StepError> {
        Ok(match action {
            Action::Hold => unreachable!("nobody answers a hold"),
            Action::Fence(node) => {
                let server = self.server(node)?;
                self.local.supervisor.fence(&server.id()).await;
                Event::Fenced
            }
            Action::Measure(nodes) => Event::Measured(self.measure(nodes).await?),
            Action::TakeBound(node) => match self.server(node)?.bound().await {
                Ok(bound) => Event::BoundTaken(bound),
                Err(error) => self.failed_to("ask", node, error, Event::NotPromoted),
            },
            Action::Promote(node) => {
                self.become_primary(node)?;
                match self.server(node)?.promote().await {
                    Ok(()) => Event::Promoted,
                    Err(error) => self.failed_to("promote", node, error, Event::NotPromoted),
                }
            }
            Action::Restart(node) => self.restart(node).await?,
            Action::Publish { primary, bound } => {
                self.publish(Some(bound)).await?;
                let took = self.elapsed();
                self.notes.push(format!("{primary} serves again after {took} ms"));
                Event::Published
            }
            Action::Rejoin(node) => {
                self.rejoin(node).await?;
                Event::Rejoined
            }
        })
    }

    fn failed_to(&mut self, what: &str, node: NodeId, error: PostgresError, event: Event) -> Event {
        self.notes
            .push(format!("failed to {what} {node}: {}", chain(&error)));
        event
    }

    /// Nobody waits for it: the clients of a dead server are parked by the proxy in any case.
    fn hold(&self) {
        let hold = self.topology.pgproxy.as_ref().map(|pgproxy| Hold {
            cause: HoldCause::Crash,
            grace: pgproxy.hold.grace,
            limit: pgproxy.hold.limit,
        });
        if let Err(error) = self.local.proxy.publish(&self.topology, hold, None) {
            tracing::warn!(%error, "the proxy could not be told to wait; it sees for itself");
        }
    }

    async fn measure(&self, nodes: Vec<NodeId>) -> Result<BTreeMap<NodeId, u64>, StepError> {
        let mut found = BTreeMap::new();
        for node in nodes {
            let server = self.server(node)?;
            if let Ok(facts) = server.caught_up(REPLAY_LIMIT).await
                && let Some(position) = facts.received.max(facts.replayed)
                && facts.in_recovery
            {
                found.insert(node, position);
            }
        }
        Ok(found)
    }

    async fn restart(&mut self, node: NodeId) -> Result<Event, StepError> {
        let server = self.server(node)?;
        if let Err(error) = server.start(&self.local.supervisor).await {
            return Ok(self.failed_to("start", node, error, Event::NotRestarted));
        }
        Ok(match server.bound().await {
            Ok(bound) => Event::Restarted(bound),
            Err(error) => self.failed_to("ask", node, error, Event::NotRestarted),
        })
    }

    fn become_primary(&mut self, node: NodeId) -> Result<(), StepError> {
        if let Some(database) = &mut self.topology.database {
            let old = std::mem::replace(&mut database.primary, node);
            let others = database.replicas().any(|replica| replica.id != old);
            if database.durability == Durability::Sync && !others {
                // Written down, so that whoever looks next knows that a replica may lack what was acknowledged.
                database.durability = Durability::Async;
                self.without_replica = true;
            }
        }
        (self.save)(&self.topology).map_err(StepError)
    }

    /// The other replicas follow it, then statements pass.
    async fn publish(&mut self, bound: Option<Bound>) -> Result<(), StepError> {
        let database = reached(&self.topology)?.clone();
        for node in database.replicas() {
            let server = self.server(node.id)?;
            if self.local.runs(&server.id()).await
                && let Err(error) = server.reload().await
            {
                self.notes
                    .push(format!("{} does not follow: {}", node.id, chain(&error)));
            }
        }
        let told = self.local.tell_pgproxy(&self.topology, None, bound, Goal::Open);
        if let Err(error) = told.await {
            self.notes
                .push(format!("the proxy did not let statements pass at once: {error}"));
        }
        Ok(())
    }

    async fn rejoin(&mut self, old: NodeId) -> Result<(), StepError> {
        let primary = self.server(reached(&self.topology)?.primary)?;
        let server = self.server(old)?;
        if let Err(error) = server.follow(&self.local.supervisor, &primary).await {
            tracing::error!(%error, node = %old, "the former primary does not come back as a replica");
            let why = chain(&error);
            self.notes
                .push(format!("{old} does not come back as a replica: {why}"));
            return Ok(());
        }
        let took = self.elapsed();
        self.notes
            .push(format!("{old} is back as a replica after {took} ms"));
        if self.without_replica {
            self.be_synchronous_again().await?;
        }
        Ok(())
    }

    async fn be_synchronous_again(&mut self) -> Result<(), StepError> {
        let mut topology = self.topology.clone();
        if let Some(database) = &mut topology.database {
            database.durability = Durability::Sync;
        }
        let database = reached(&topology)?;
        let primary = self.local.server(database, database.primary, &topology)?;
        primary.reload().await.map_err(failed)?;
        if let Err(error) = primary.synchronous(SYNCHRONOUS_LIMIT).await {
            tracing::error!(%error, "writes are acknowledged by one server alone");
            let why = chain(&error);
            self.notes
                .push(format!("writes are acknowledged by one server alone: {why}"));
            let alone = self.server(primary.node)?;
            return alone.reload().await.map_err(failed);
        }
        self.topology = topology;
        (self.save)(&self.topology).map_err(StepError)
    }

    fn server(&self, node: NodeId) -> Result<Server, StepError> {
        self.local.server(reached(&self.topology)?, node, &self.topology)
    }

    fn elapsed(&self) -> u128 {
        Clock.now().duration_since(self.began).as_millis()
    }
}
