//! PostgreSQL's servers: started, copied, configured, started anew and changed places, while statements wait.
//!
//! Each of these finds what a killed controller had begun: performed again, it goes on from there.

use std::time::Duration;

use banyan_config::Durability;
use banyan_supervisor::engine::postgres::{PostgresError, Server, backup};
use banyan_topology::snapshot::pgproxy::HoldCause;
use banyan_topology::{Database, Node, NodeId, Topology};

use super::local::{Local, chain};
use super::pgproxy::Goal;
use super::{Move, StepError};

/// A replica that follows joins within a second.
const SYNCHRONOUS_LIMIT: Duration = Duration::from_secs(30);
/// What was sent is replayed within this, or the replica is not one to promote.
const REPLAY_LIMIT: Duration = Duration::from_secs(10);
/// A replica this far behind would make statements wait for longer than they may.
const MOST_BEHIND: u64 = 16 << 20;

pub(super) fn failed(error: PostgresError) -> StepError {
    StepError(chain(&error))
}

impl Local {
    pub(super) fn primary(&self, database: &Database, topology: &Topology) -> Result<Server, StepError> {
        self.server(database, database.primary, topology)
    }

    pub(super) fn server(
        &self,
        database: &Database,
        node: NodeId,
        topology: &Topology,
    ) -> Result<Server, StepError> {
        self.specs.server(database, node, topology.app.as_str())
    }

    pub(super) async fn start_database(
        &self,
        database: &Database,
        topology: &Topology,
    ) -> Result<(), StepError> {
        let server = self.primary(database, topology)?;
        let log = server.log.clone();
        // A killed controller may have started it: then it only remains to wait.
        let started = server.start(&self.supervisor).await;
        started.map_err(|error| StepError(format!("{}\nits log: {}", chain(&error), log.display())))
    }

    pub(super) async fn stop_database(&self, database: &Database) -> Option<String> {
        self.backups.want(None);
        self.stop(&backup::child_id().0).await;
        let id = banyan_supervisor::engine::postgres::child_id(database.primary);
        self.stop(&id.0).await
    }

    /// A database without backups has none to make.
    pub(super) fn want_backups(&self, topology: &Topology) {
        let database = topology.database.as_ref();
        let database = database.filter(|database| database.backup.is_some());
        match database
            .map(|database| self.primary(database, topology))
            .transpose()
        {
            Ok(server) => self.backups.want(server),
            Err(error) => tracing::error!(%error, "no backups can be made"),
        }
    }

    pub(super) async fn add_replica(&self, node: &Node, step: Move<'_>) -> Result<(), StepError> {
        let database = reached(step.after)?;
        let primary = self.primary(database, step.after)?;
        let replica = self.server(database, node.id, step.after)?;
        let follows = replica.follow(&self.supervisor, &primary).await;
        if let Err(error) = follows {
            self.supervisor.stop(&replica.id()).await;
            return Err(StepError(format!(
                "{}\nits log: {}",
                chain(&error),
                replica.log.display()
            )));
        }
        // The others may promote, and the primary wait for, one more from now on.
        self.reload(step.after).await?;
        self.tell_pgproxy(step.after, None, None, Goal::Serves).await
    }

    pub(super) async fn remove_replica(
        &self,
        node: &Node,
        step: Move<'_>,
    ) -> Result<Option<String>, StepError> {
        self.tell_pgproxy(step.after, None, None, Goal::Serves).await?;
        let id = banyan_supervisor::engine::postgres::child_id(node.id);
        let note = self.stop(&id.0).await;
        self.reload(step.after).await?;
        let primary = self.primary(reached(step.after)?, step.after)?;
        primary.keep_for_replicas().await.map_err(failed)?;
        Ok(note)
    }

    pub(super) async fn configure_database(
        &self,
        from: &Database,
        to: &Database,
        step: Move<'_>,
    ) -> Result<(), StepError> {
        let repository = |database: &Database| database.backup.as_ref().map(|backup| backup.path.clone());
        let begins = repository(to).filter(|_| repository(from) != repository(to));
        let primary = self.primary(to, step.after)?;
        if begins.is_some() {
            primary.prepare_backups(&self.supervisor).await.map_err(failed)?;
        }
        self.reload(step.after).await?;
        if let Some(path) = begins {
            if let Err(error) = primary.check_backups(&self.supervisor).await {
                // Log that cannot be stored must not fill the database's disk.
                self.reload(step.before).await?;
                return Err(failed(error));
            }
            let begun = self.backups.begin(path);
            begun.map_err(|error| StepError(chain(&error)))?;
        }
        if to.durability == Durability::Sync
            && let Err(error) = primary.synchronous(SYNCHRONOUS_LIMIT).await
        {
            // Writes must not wait for a replica that does not come.
            self.reload(step.before).await?;
            return Err(failed(error));
        }
        Ok(())
    }

    /// Every server takes its files anew.
    async fn reload(&self, topology: &Topology) -> Result<(), StepError> {
        let database = reached(topology)?;
        for node in database.nodes.keys() {
            let server = self.server(database, *node, topology)?;
            server.reload().await.map_err(failed)?;
        }
        Ok(())
    }

    /// More connections on the replicas first, fewer on the primary first: a replica may never have fewer than it.
    pub(super) async fn restart_database(
        &self,
        from: &Database,
        to: &Database,
        step: Move<'_>,
    ) -> Result<(), StepError> {
        let primary_first = to.max_connections < from.max_connections;
        if primary_first {
            self.restart_primary(from, to, step).await?;
        }
        let primary = self.primary(to, step.after)?;
        for replica in to.replicas() {
            let server = self.server(to, replica.id, step.after)?;
            self.supervisor.stop(&server.id()).await;
            server.follow(&self.supervisor, &primary).await.map_err(failed)?;
        }
        if !primary_first {
            self.restart_primary(from, to, step).await?;
        }
        Ok(())
    }

    /// Stops the primary while statements wait. What its last checkpoint would have to write is written before they do.
    async fn stop_held(&self, primary: &Server, topology: &Topology) -> Result<(), StepError> {
        if let Err(error) = primary.write_checkpoint().await {
            tracing::warn!(%error, "no checkpoint before the stop: statements wait for longer");
        }
        self.hold(topology, HoldCause::Planned).await?;
        self.supervisor.stop(&primary.id()).await;
        Ok(())
    }

    async fn restart_primary(&self, from: &Database, to: &Database, step: Move<'_>) -> Result<(), StepError> {
        let server = self.primary(to, step.after)?;
        self.stop_held(&server, step.before).await?;
        let started = server.start(&self.supervisor).await;
        if let Err(error) = started {
            let before = self.primary(from, step.before)?;
            let back = before.start(&self.supervisor).await;
            self.release(step.before).await;
            back.map_err(failed)?;
            return Err(failed(error));
        }
        self.release(step.after).await;
        Ok(())
    }

    /// HOLD → stop the primary, which sends all it has → the replica has replayed that → promote → re-point → release.
    pub(super) async fn switchover(&self, from: NodeId, to: NodeId, step: Move<'_>) -> Result<(), StepError> {
        let after = reached(step.after)?;
        let new = self.server(after, to, step.after)?;
        let promoted = new.facts().await.is_ok_and(|facts| !facts.in_recovery);
        if !promoted {
            self.change_places(from, to, step).await?;
        }
        // From here on there is no way back but forward: what fails is done by performing this again.
        for other in after.replicas().filter(|node| node.id != from) {
            let server = self.server(after, other.id, step.after)?;
            server.reload().await.map_err(failed)?;
        }
        self.tell_pgproxy(step.after, None, None, Goal::Open).await?;
        let old = self.server(after, from, step.after)?;
        old.follow(&self.supervisor, &new).await.map_err(failed)?;
        if after.durability == Durability::Sync {
            new.synchronous(SYNCHRONOUS_LIMIT).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn change_places(&self, from: NodeId, to: NodeId, step: Move<'_>) -> Result<(), StepError> {
        let before = reached(step.before)?;
        let old = self.server(before, from, step.before)?;
        let runs = self.runs(&old.id()).await;
        if runs {
            let followers = old.followers().await.map_err(failed)?;
            let candidate = followers.iter().find(|follower| follower.name == to.to_string());
            let near = candidate.is_some_and(|found| {
                found.streaming && found.lag_bytes.is_some_and(|lag| lag <= MOST_BEHIND)
            });
            if !near {
                return Err(StepError(format!(
                    "{to} is not close enough behind {from} to take over: {}",
                    candidate.map_or_else(
                        || "it does not follow".to_owned(),
                        |found| format!("{:?} bytes behind", found.lag_bytes)
                    )
                )));
            }
            self.stop_held(&old, step.before).await?;
        }
        let promoted = self.promote_when_level(&old, to, step).await;
        if let Err(error) = promoted {
            // Nothing was promoted: the old one is what it was.
            let back = old.start(&self.supervisor).await;
            self.release(step.before).await;
            back.map_err(failed)?;
            return Err(error);
        }
        Ok(())
    }

    /// Only if it has everything that the old one had when it stopped.
    async fn promote_when_level(&self, old: &Server, to: NodeId, step: Move<'_>) -> Result<(), StepError> {
        let replica = self.server(reached(step.before)?, to, step.before)?;
        let facts = replica.caught_up(REPLAY_LIMIT).await.map_err(failed)?;
        let end = old.checkpoint().map_err(failed)?;
        // The checkpoint's own record ends behind where it begins.
        if facts.replayed.is_none_or(|replayed| replayed <= end) {
            return Err(StepError(format!(
                "{to} has not replayed all that {} had written when it stopped",
                old.node
            )));
        }
        let new = self.server(reached(step.after)?, to, step.after)?;
        new.promote().await.map_err(failed)
    }
}

pub(super) fn reached(topology: &Topology) -> Result<&Database, StepError> {
    let database = topology.database.as_ref();
    database.ok_or_else(|| StepError("the database does not run".to_owned()))
}
