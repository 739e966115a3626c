//! `banyan purge` at the controller: what is refused, and what is answered.

use banyan_config::PurgeEndpoint;
use banyan_topology::Topology;
use banyan_topology::purge::{Actor, Mode, Scope};
use tokio::sync::mpsc;

use super::Done;
use super::change::done_reply;
use super::service::tell;
use crate::proto::{Outcome, Reply};
use crate::purge::{Order, Purges};

pub(super) fn has_cache(topology: &Topology) -> bool {
    let edge = topology.edge.as_ref();
    edge.is_some_and(|edge| edge.settings.cache.is_some())
}

/// Where purges are taken over HTTP.
pub(super) fn endpoint_of(topology: &Topology) -> Option<PurgeEndpoint> {
    let cache = topology.edge.as_ref()?.settings.cache.as_ref()?;
    cache.purge.clone()
}

pub(super) async fn purge(
    purges: &Purges,
    has_cache: bool,
    scopes: Vec<Scope>,
    mode: Mode,
    replies: &mpsc::UnboundedSender<Reply>,
) {
    let refused = |why: String| Done {
        outcome: Outcome::Refused,
        error: Some(why),
        notes: Vec::new(),
    };
    if !has_cache {
        let why = "there is no cache to purge: write `cache = {}` into [edge], then `banyan apply`";
        return tell(replies, done_reply(refused(why.to_owned())));
    }
    let order = Order {
        scopes,
        mode,
        actor: Actor::Command,
    };
    let purged = match purges.purge(order).await {
        Ok(purged) => purged,
        Err(why) => return tell(replies, done_reply(refused(why))),
    };
    let late = purged.stragglers();
    tell(replies, Reply::Purged(purged));
    let error = late.map(|late| {
        format!(
            "{late} did not say in time that it is applied, and may still serve what was purged; it is in the log, and \
             applied before anything else once that edge can. `banyan status` and `banyan logs -p edge` say how it is"
        )
    });
    let outcome = if error.is_some() {
        Outcome::Stopped
    } else {
        Outcome::Changed
    };
    let done = Done {
        outcome,
        error,
        notes: Vec::new(),
    };
    tell(replies, done_reply(done));
}
