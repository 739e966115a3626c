//! What the steps of Redis mean.

use super::{exchange, must};
use crate::model::{Redis, Topology};

pub(super) fn runs(at: &Topology, redis: &Redis) -> bool {
    at.redis.get(&redis.purpose) == Some(redis)
}

/// `anew`: by starting the server again.
pub(super) fn configure(at: &mut Topology, from: &Redis, to: &Redis, anew: bool) -> Result<(), String> {
    let same = (from.purpose, from.port) == (to.purpose, to.port);
    must(same, || "a running Redis keeps its purpose and port".into())?;
    must(anew == from.restarts_for(to), || {
        "a restart is for settings that a running Redis does not take, and only for those".into()
    })?;
    put(at, Some(from), Some(to))
}

/// Puts `to` where exactly `from` must be.
pub(super) fn put(at: &mut Topology, from: Option<&Redis>, to: Option<&Redis>) -> Result<(), String> {
    let Some(purpose) = from.or(to).map(|redis| redis.purpose) else {
        return Err("it names no Redis".into());
    };
    let mut place = at.redis.remove(&purpose);
    let exchanged = exchange(&mut place, from, to, &format!("the Redis of {purpose}"));
    at.redis.extend(place.map(|redis| (purpose, redis)));
    exchanged
}
