//! The connection by which Redis tells of changed keys: one per process and cache, asked twice a second whether it still is one.
//!
//! What it tells is heard in the order it was sent, before the answer to the next question: an answer means that everything until
//! the question was heard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, RedisResult};
use tokio::time::{Instant, sleep};

use super::{Local, Shared};

const LIMIT: Duration = Duration::from_secs(1);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Since the last question that was answered.
const GOOD: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(200);

/// For ever.
pub(super) async fn follow(client: Client, shared: Arc<Shared>) {
    let mut was_well = true;
    loop {
        let followed = follow_one(&client, &shared).await;
        shared.lost();
        for local in shared.kinds().values() {
            local.is_tracked.store(false, Ordering::Release);
        }
        match followed {
            Ok(()) => was_well = true,
            Err(error) => {
                if std::mem::replace(&mut was_well, false) {
                    tracing::warn!(reason = %error, "nothing is cached in this process: Redis does not tell what changes");
                }
                sleep(AGAIN).await;
            }
        }
    }
}

/// Until it breaks, or returns when a kind is there of which it does not tell.
async fn follow_one(client: &Client, shared: &Arc<Shared>) -> RedisResult<()> {
    let heard = Arc::clone(shared);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LIMIT))
        .set_response_timeout(Some(LIMIT))
        .set_push_sender(move |push: PushInfo| {
            heard.hear(&push);
            Ok::<(), ()>(())
        });
    let mut connection = resp3(client)?
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let kinds: Vec<(&'static str, Arc<Local>)> = {
        let kinds = shared.kinds();
        kinds
            .iter()
            .map(|(kind, local)| (*kind, Arc::clone(local)))
            .collect()
    };
    track(&mut connection, kinds.iter().map(|(kind, _)| *kind)).await?;
    for (_, local) in &kinds {
        local.is_tracked.store(true, Ordering::Release);
    }
    loop {
        let asked = Instant::now();
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        shared.is_good_until(asked + GOOD);
        sleep(ASK_EVERY).await;
        if shared.kinds().len() > kinds.len() {
            return Ok(());
        }
    }
}

fn resp3(client: &Client) -> RedisResult<Client> {
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Client::open(info.set_redis_settings(settings))
}

async fn track(
    connection: &mut MultiplexedConnection,
    kinds: impl Iterator<Item = &'static str>,
) -> RedisResult<()> {
    let mut command = redis::cmd("CLIENT");
    command.arg("TRACKING").arg("ON").arg("BCAST");
    for prefix in prefixes(kinds) {
        command.arg("PREFIX").arg(prefix);
    }
    command.query_async(connection).await
}

/// Redis refuses a prefix that begins with another.
fn prefixes(kinds: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut all: Vec<String> = kinds.map(|kind| format!("{kind}:")).collect();
    all.sort();
    all.dedup_by(|next, kept| next.starts_with(kept.as_str()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prefix_begins_with_another() {
        let kinds = ["user:card", "tip", "user", "users"];
        assert_eq!(prefixes(kinds.into_iter()), ["tip:", "user:", "users:"]);
    }
}
