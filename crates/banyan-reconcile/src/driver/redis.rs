//! Redis servers: started, given other settings, started anew.

use banyan_supervisor::engine::redis::{RedisError, Server};
use banyan_topology::{Redis, Topology};

use super::local::{Local, chain};
use super::{Move, StepError};

fn failed(server: &Server) -> impl FnOnce(RedisError) -> StepError {
    let log = server.log.clone();
    move |error| StepError(format!("{}\nits log: {}", chain(&error), log.display()))
}

impl Local {
    pub(super) fn redis(&self, redis: &Redis, topology: &Topology) -> Result<Server, StepError> {
        self.specs.redis(redis, topology.app.as_str())
    }

    pub(super) async fn start_redis(&self, redis: &Redis, step: Move<'_>) -> Result<(), StepError> {
        let server = self.redis(redis, step.after)?;
        server.start(&self.supervisor).await.map_err(failed(&server))?;
        self.watch_redis(step.after);
        self.tell_where_limits_count(step.after)
    }

    pub(super) async fn stop_redis(&self, redis: &Redis, step: Move<'_>) -> Option<String> {
        self.watch_redis(step.after);
        let id = banyan_supervisor::engine::redis::child_id(redis.purpose);
        self.stop(&id.0).await
    }

    pub(super) async fn configure_redis(&self, to: &Redis, step: Move<'_>) -> Result<(), StepError> {
        let server = self.redis(to, step.after)?;
        server.configure().await.map_err(failed(&server))?;
        self.watch_redis(step.after);
        Ok(())
    }

    /// With the old settings again if it does not start with the new ones.
    pub(super) async fn restart_redis(
        &self,
        from: &Redis,
        to: &Redis,
        step: Move<'_>,
    ) -> Result<(), StepError> {
        let server = self.redis(to, step.after)?;
        self.supervisor.stop(&server.id()).await;
        if let Err(error) = server.start(&self.supervisor).await {
            let before = self.redis(from, step.before)?;
            before.start(&self.supervisor).await.map_err(failed(&before))?;
            return Err(failed(&server)(error));
        }
        self.watch_redis(step.after);
        self.tell_where_limits_count(step.after)
    }

    /// How those of this topology are is asked now and then.
    pub(super) fn watch_redis(&self, topology: &Topology) {
        let servers = topology.redis.values().map(|redis| self.redis(redis, topology));
        match servers.collect() {
            Ok(servers) => self.redis.want(servers),
            Err(error) => tracing::error!(%error, "Redis is not watched"),
        }
    }
}
