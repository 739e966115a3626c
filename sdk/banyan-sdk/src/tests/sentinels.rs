//! Servers that Sentinels name: a failover under load, and Sentinels that are away.

use banyan_testkit::watched::{SERVICE, Watched};

use super::faults::Load;
use super::*;
use crate::state::State;

const ITEMS: usize = 200;

async fn has_role(redis: &Redis, role: &str) {
    wait::until(role, LIMIT, async || {
        let told = redis.command(&["ROLE"]).map_err(|error| error.to_string())?;
        if told.starts_with(role) { Ok(()) } else { Err(told) }
    })
    .await
    .unwrap();
}

/// The name that its server has for this connection's server: its port.
async fn port_of(state: &State) -> Option<u16> {
    let told: Vec<String> = state
        .ask(|mut redis| async move {
            redis::cmd("CONFIG")
                .arg("GET")
                .arg("port")
                .query_async(&mut redis)
                .await
        })
        .await?;
    told[1].parse().ok()
}

async fn leads_to(state: &State, port: Option<u16>) {
    wait::until("the way to lead there", LIMIT, async || {
        match port_of(state).await {
            found if found == port => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinels_fails_no_read_and_leaves_no_entry_stale() {
    let watched = Watched::start_with(&[]).unwrap();
    let url = watched.url(watched.primary.password());
    let Watched {
        mut primary,
        replica,
        sentinels: _sentinels,
    } = watched;
    let world = World::over(ITEMS, replica, &url, Settings::default()).await;
    let load = Load::start(&world, false);
    load.more(2000).await;
    primary.kill();
    has_role(&world.redis, "master").await;
    load.more(2000).await;
    // The old one comes back as a server that nobody copies, until Sentinels tell it.
    primary.restart().unwrap();
    load.more(2000).await;
    has_role(&primary, "slave").await;
    wait::until("reads from the new server", LIMIT, async || {
        world.read(0).await.map_err(|error| error.to_string())?;
        match world.redis.command(&["EXISTS", "item:0"]).as_deref() {
            Ok("1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    load.end().await;
    assert!(world.assert_right_at_rest().await > 0);
}

#[tokio::test]
async fn it_counts_as_away_while_more_than_half_of_the_sentinels_do_and_follows_them_again() {
    let mut watched = Watched::start_with(&[]).unwrap();
    let url = watched.url(watched.primary.password());
    let state = State::open(&url, LIMIT).unwrap();
    state.settle().await;
    assert_eq!(port_of(&state).await, Some(watched.primary.port()));
    watched.sentinels[0].kill();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(
        port_of(&state).await,
        Some(watched.primary.port()),
        "two of three say so"
    );
    watched.sentinels[1].kill();
    leads_to(&state, None).await;
    watched.sentinels[0].restart().unwrap();
    leads_to(&state, Some(watched.primary.port())).await;
    watched.sentinels[1].restart().unwrap();
    // Without a fault, as an operator does it: connections to the old one stay open.
    watched.sentinels[2]
        .command(&["SENTINEL", "FAILOVER", SERVICE])
        .unwrap();
    leads_to(&state, Some(watched.replica.port())).await;
}
