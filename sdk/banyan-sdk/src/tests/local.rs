//! The level of the cache that is in the process.

use super::*;
use crate::cache::L1;

/// Another process of the same app.
fn other(world: &World) -> Cache {
    let patient = Settings {
        slow: LIMIT,
        ..Settings::default()
    };
    Cache::open(&world.redis.url(), patient).unwrap()
}

async fn read(world: &World, cache: &Cache, item: usize) -> i64 {
    let items: Cached<i64> = cache.of("item").loader_limit(LIMIT).l1(L1::lfu(1000));
    items
        .get_or_load(item, || world.load(item))
        .await
        .unwrap()
        .unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, reached).await.expect(what);
}

async fn until_local(world: &World, cache: &Cache, item: usize) {
    until("reads are answered by the process", async || {
        let before = cache.stats().local_hits;
        read(world, cache, item).await;
        cache.stats().local_hits > before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_answers_by_itself_until_redis_tells_it_of_a_change() {
    let world = World::with(2).await;
    let cache = other(&world);
    until_local(&world, &cache, 0).await;
    // By the world's own cache, as another process would.
    world.write(0).await;
    until("the change is told", async || read(&world, &cache, 0).await == 1).await;
    until_local(&world, &cache, 0).await;
    world.redis.command(&["FLUSHALL"]).unwrap();
    let loads = world.loads();
    until("an emptied Redis is told, too", async || {
        read(&world, &cache, 0).await;
        world.loads() > loads
    })
    .await;
    let items: Cached<i64> = cache.of("item").l1(L1::lfu(1000)).fresh();
    let before = cache.stats().local_hits;
    items.get_or_load(0, || world.load(0)).await.unwrap();
    assert_eq!(cache.stats().local_hits, before, "fresh() asks Redis");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_sees_its_own_write_at_once() {
    let world = World::with(1).await;
    for version in 1..50 {
        read(&world, &world.cache, 0).await;
        read(&world, &world.cache, 0).await;
        world.write(0).await;
        assert_eq!(read(&world, &world.cache, 0).await, version);
    }
    until_local(&world, &world.cache, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_tells_any_more_the_process_does_not_answer() {
    let world = World::with(1).await;
    let cache = other(&world);
    until_local(&world, &cache, 0).await;
    // Changed while the connection is cut: nobody hears of it.
    world.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).ok();
    world.write(0).await;
    until("the loss is noticed", async || read(&world, &cache, 0).await == 1).await;
    until_local(&world, &cache, 0).await;
    // Silent: what is kept is used for two seconds at most, then reads wait for Redis.
    world.redis.pause();
    let asks_redis = async || {
        let local = cache.stats().local_hits;
        let asked = tokio::time::timeout(Duration::from_millis(20), read(&world, &cache, 0)).await;
        asked.is_err() && cache.stats().local_hits == local
    };
    until("the silence is noticed", asks_redis).await;
    world.redis.resume();
    until_local(&world, &cache, 0).await;
}

/// Readers in one process that keeps, writers in another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_interleavings_leave_nothing_stale_in_the_process() {
    const ITEMS: usize = 50;
    let world = World::with(ITEMS).await;
    let cache = other(&world);
    until_local(&world, &cache, 0).await;
    let tasks: Vec<_> = (0..16u64)
        .map(|number| {
            let (world, cache) = (Arc::clone(&world), cache.clone());
            let mut dice = StdRng::seed_from_u64(number);
            start(async move {
                for _ in 0..300 {
                    let item = dice.random_range(0..ITEMS).min(dice.random_range(0..ITEMS));
                    if number < 4 {
                        world.write(item).await;
                        tokio::time::sleep(Duration::from_millis(dice.random_range(0..4))).await;
                    } else {
                        read(&world, &cache, item).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let local = cache.stats().local_hits;
    assert!(local > 0, "{:?}", cache.stats());
    for item in 0..ITEMS {
        let version = world.acknowledged[item].load(Ordering::SeqCst);
        until("the last word has come", async || {
            read(&world, &cache, item).await == version
        })
        .await;
    }
}
