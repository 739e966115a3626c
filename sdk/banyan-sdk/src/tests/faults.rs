//! Redis emptied, killed, restarted, silent, or back in time, under load.

use std::sync::atomic::AtomicBool;

use super::*;

const ITEMS: usize = 200;

/// Readers and writers until told to stop; each read is judged if `judged`.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(super) fn start(world: &Arc<World>, judged: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let reads = Arc::new(AtomicUsize::new(0));
        let tasks = (0..20u64)
            .map(|number| {
                let (world, stop, reads) = (Arc::clone(world), Arc::clone(&stop), Arc::clone(&reads));
                let mut dice = StdRng::seed_from_u64(number);
                start(async move {
                    while !stop.load(Ordering::Relaxed) {
                        // Some are asked for much more than others.
                        let item = dice.random_range(0..ITEMS).min(dice.random_range(0..ITEMS));
                        if number < 2 {
                            world.write(item).await;
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        } else if judged && number < 18 {
                            world.read_judged(item).await;
                        } else if judged {
                            world.read_all_judged(item..ITEMS.min(item + 20)).await;
                        } else if number >= 18 {
                            world.read_all(item..ITEMS.min(item + 20)).await;
                        } else {
                            world.read(item).await.unwrap();
                        }
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Self { stop, reads, tasks }
    }

    /// Until so many more were answered.
    pub(super) async fn more(&self, count: usize) {
        let goal = self.reads.load(Ordering::Relaxed) + count;
        let reached = async {
            while self.reads.load(Ordering::Relaxed) < goal {
                assert!(
                    self.tasks.iter().all(|task| !task.is_finished()),
                    "a reader failed"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LIMIT, reached)
            .await
            .expect("requests are answered");
    }

    pub(super) async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.reads.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_redis_costs_one_load_per_key() {
    let world = World::with(ITEMS).await;
    let load = Load::start(&world, true);
    load.more(3000).await;
    world.redis.command(&["FLUSHALL"]).unwrap();
    load.more(3000).await;
    let answered = load.end().await;
    println!(
        "{answered} answered, {} loads, {:?}",
        world.loads(),
        world.cache.stats()
    );
    assert_eq!(world.cache.stats().direct_loads, 0);
    world.assert_right_at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_or_silent_redis_fails_no_request_and_bounds_the_loads() {
    let settings = Settings {
        slow: Duration::from_millis(50),
        direct_loads: 4,
    };
    let mut world = World::start(ITEMS, settings).await;
    let load = Load::start(&world, false);
    load.more(2000).await;
    world.redis.pause();
    load.more(2000).await;
    world.redis.resume();
    load.more(2000).await;
    world.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).ok();
    load.more(2000).await;
    world.redis.command(&["SHUTDOWN", "NOSAVE"]).ok();
    load.more(2000).await;
    let answered = load.end().await;
    let stats = world.cache.stats();
    println!("{answered} answered, {} loads, {stats:?}", world.loads());
    assert_eq!(stats.refused, 0);
    assert!(stats.direct_loads > 0);
    let sole = Arc::get_mut(&mut world).expect("the load has ended");
    sole.redis.restart().unwrap();
    let back = async {
        let hits = world.cache.stats().hits;
        while world.cache.stats().hits < hits + 10 {
            world.read(0).await.unwrap();
        }
    };
    tokio::time::timeout(LIMIT, back)
        .await
        .expect("a restarted Redis is used again");
    world.assert_right_at_rest().await;
}

/// Redis becomes what it was: every key as it was dumped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_went_back_in_time_is_put_right_by_replay() {
    let world = World::with(ITEMS).await;
    let load = Load::start(&world, true);
    load.more(2000).await;
    load.end().await;
    world.assert_right_at_rest().await;
    for item in 0..ITEMS {
        world.read(item).await.unwrap();
    }
    let older = dump(&world).await;
    let load = Load::start(&world, true);
    load.more(3000).await;
    load.end().await;
    world.assert_right_at_rest().await;
    restore(&world, &older).await;
    let applied = world.pass().await;
    assert!(applied.again > 0 && !applied.flushed, "{applied:?}");
    let kept = world.assert_right_at_rest().await;
    println!("{applied:?}, {kept} entries kept");
}

#[tokio::test]
async fn a_copy_whose_age_is_unknown_is_emptied() {
    let world = World::with(1).await;
    world.read(0).await.unwrap();
    let older = dump(&world).await;
    world.write(0).await;
    while world.pass().await.rows > 0 {}
    let without_beat = older
        .into_iter()
        .filter(|(key, _)| !key.starts_with("banyan:beat:"))
        .collect();
    restore(&world, &without_beat).await;
    assert_eq!(world.read(0).await.unwrap(), Some(0), "nobody has noticed yet");
    assert!(world.pass().await.flushed);
    assert_eq!(world.read(0).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_redis_that_missed_swept_rows_is_emptied() {
    let world = World::with(1).await;
    world.read(0).await.unwrap();
    // A writer without the cache, long ago by now.
    let update = "update item set version = 1 where id = 0;
        insert into banyan.invalidation (key, created_at) values ('item:0', now() - interval '11 minutes')";
    sqlx::raw_sql(update)
        .execute(world.database.pool())
        .await
        .unwrap();
    let without = Cache::without_redis(Settings::default());
    without.apply_invalidations(&world.database).await.unwrap();
    assert_eq!(
        world.read(0).await.unwrap(),
        Some(0),
        "the row that would have told it is gone"
    );
    assert!(world.pass().await.flushed);
    assert_eq!(world.read(0).await.unwrap(), Some(1));
}

async fn dump(world: &World) -> HashMap<String, Vec<u8>> {
    let mut redis = world.cache.manager();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    let mut all = HashMap::new();
    for key in keys {
        let value = redis::cmd("DUMP")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        all.insert(key, value);
    }
    all
}

async fn restore(world: &World, all: &HashMap<String, Vec<u8>>) {
    let mut redis = world.cache.manager();
    redis::cmd("FLUSHALL")
        .query_async::<()>(&mut redis)
        .await
        .unwrap();
    for (key, value) in all {
        let mut command = redis::cmd("RESTORE");
        command.arg(key).arg(600_000).arg(value);
        command.query_async::<()>(&mut redis).await.unwrap();
    }
}
