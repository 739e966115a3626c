//! Entries compared with the database while they are read.

use super::*;

async fn counted(world: &World, field: &str) -> u64 {
    let told = world.redis.command(&["HGET", "banyan:audit:7", field]).unwrap();
    told.parse().unwrap_or(0)
}

async fn until_counted(world: &World, field: &str, least: u64) {
    let reached = async {
        while counted(world, field).await < least {
            world.read(0).await.unwrap();
            world.cache.look_for_audit().await;
        }
    };
    tokio::time::timeout(LIMIT, reached)
        .await
        .expect("samples are judged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_entries_are_right_and_one_that_nobody_invalidated_is_named() {
    let world = World::with(1).await;
    world.read(0).await.unwrap();
    let loads = world.loads();
    world.read(0).await.unwrap();
    assert_eq!(world.loads(), loads, "nobody audits");
    world.redis.command(&["SET", "banyan:audit", "7"]).unwrap();
    world.cache.look_for_audit().await;
    until_counted(&world, "right", 5).await;
    // By a program that knows nothing of the cache.
    sqlx::query("update item set version = 9")
        .execute(world.database.pool())
        .await
        .unwrap();
    assert_eq!(world.read(0).await.unwrap(), Some(0), "an audit repairs nothing");
    until_counted(&world, "wrong", 1).await;
    let named = world
        .redis
        .command(&["LRANGE", "banyan:audit:7:wrong", "0", "0"])
        .unwrap();
    assert_eq!(named, "item:0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_is_about_to_be_invalidated_is_late_not_wrong() {
    let world = World::with(1).await;
    world.read(0).await.unwrap();
    world.redis.command(&["SET", "banyan:audit", "7"]).unwrap();
    world.cache.look_for_audit().await;
    let died = Delays::new(&mut StdRng::seed_from_u64(1), Some(Point::Committed));
    DELAYS
        .scope(died.clone(), async {
            tokio::select! {
                () = world.write(0) => unreachable!("it dies before"),
                () = died.died.notified() => {}
            }
        })
        .await;
    world.read(0).await.unwrap();
    world.pass().await;
    until_counted(&world, "late", 1).await;
    assert_eq!(counted(&world, "wrong").await, 0);
}
