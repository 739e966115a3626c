//! Counters written behind: each increment comes to the database once, whoever dies and whatever comes back.

use super::*;
use crate::count::testing::Uncounted;

const STATEMENT: &str = "update page set views = views + by
    from unnest($1::text[], $2::bigint[]) as n (key, by) where id::text = key";

async fn counter(world: &World, has_redis: bool) -> Uncounted {
    sqlx::raw_sql(
        "create table if not exists page (id bigint primary key, views bigint not null default 0);
        insert into page values (1), (2) on conflict do nothing",
    )
    .execute(world.database.pool())
    .await
    .unwrap();
    let url = world.redis.url();
    Uncounted::new(
        world.database.clone(),
        has_redis.then_some(url.as_str()),
        STATEMENT,
    )
}

async fn views(world: &World) -> Vec<i64> {
    sqlx::query_scalar("select views from page order by id")
        .fetch_all(world.database.pool())
        .await
        .unwrap()
}

/// Windows end by Redis's clock.
async fn until_applied(world: &World, counter: &Uncounted) {
    let applied = async {
        loop {
            counter.apply().await;
            if world.redis.command(&["EXISTS", "count:{views}"]).unwrap() == "0" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, applied)
        .await
        .expect("all windows end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_count_at_once_comes_to_the_database_whole() {
    let world = World::with(1).await;
    let counter = Arc::new(counter(&world, true).await);
    let adders: Vec<_> = (0..8)
        .map(|_| {
            let counter = Arc::clone(&counter);
            start(async move {
                for _ in 0..200 {
                    counter.add("1", 1).await;
                    counter.add("2", 3).await;
                    counter.apply().await;
                }
            })
        })
        .collect();
    for adder in adders {
        adder.await.unwrap();
    }
    until_applied(&world, &counter).await;
    assert_eq!(views(&world).await, [1600, 4800]);
}

#[tokio::test]
async fn who_dies_after_the_commit_and_a_redis_that_has_the_window_again_count_nothing_twice() {
    let world = World::with(1).await;
    let counter = counter(&world, true).await;
    counter.add("1", 7).await;
    let died = Delays::new(&mut StdRng::seed_from_u64(1), Some(Point::Counted));
    DELAYS
        .scope(died.clone(), async {
            tokio::select! {
                () = until_applied(&world, &counter) => unreachable!("it dies before"),
                () = died.died.notified() => {}
            }
        })
        .await;
    assert_eq!(views(&world).await, [7, 0]);
    let window = world
        .redis
        .command(&["ZRANGE", "count:{views}", "0", "0"])
        .unwrap();
    assert_eq!(counter.apply().await, 0, "it was in the database");
    // An older copy of Redis has it again.
    let entry = format!("count:{{views}}:{window}");
    world.redis.command(&["HSET", &entry, "1", "7"]).unwrap();
    world
        .redis
        .command(&["ZADD", "count:{views}", &window, &window])
        .unwrap();
    until_applied(&world, &counter).await;
    assert_eq!(views(&world).await, [7, 0]);
    assert_eq!(world.redis.command(&["EXISTS", &entry]).unwrap(), "0");
}

#[tokio::test]
async fn without_redis_an_increment_is_written_at_once() {
    let world = World::with(1).await;
    let counter = counter(&world, false).await;
    counter.add("2", 5).await;
    counter.add("no such page", 5).await;
    assert_eq!(views(&world).await, [0, 5]);
}
