//! The SDK against a real PostgreSQL and a real Redis.

mod audit;
mod auth;
mod caching;
mod counting;
mod faults;
mod interleavings;
mod lists;
mod loader;
mod local;
mod many;
mod moves;
mod sentinels;
mod tracking;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use banyan_testkit::postgres::Postgres;
use banyan_testkit::redis::Redis;
use banyan_testkit::wait;
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;

use self::loader::Loader;
use crate::cache::{Cache, CacheError, Cached, PRIMARY, Settings};
use crate::point::Point;
use crate::{Database, Tx};

/// For what must happen and has no time of its own, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(120);

/// A task whose failure the test sees when it awaits it.
fn start(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::runtime::Handle::current().spawn(work)
}

fn ids(items: &Range<usize>) -> Vec<i64> {
    items.clone().map(|item| i64::try_from(item).unwrap()).collect()
}

/// A table of versions, and what was acknowledged of them.
struct World {
    _postgres: Postgres,
    redis: Redis,
    database: Database,
    cache: Cache,
    loader: Loader,
    /// What loaders asked for.
    loads: AtomicUsize,
    /// By item.
    acknowledged: Vec<AtomicI64>,
}

impl World {
    /// Items 0 to `items`, each of version 0.
    async fn with(items: usize) -> Arc<Self> {
        // A busy test machine is not a slow Redis.
        let patient = Settings {
            slow: LIMIT,
            ..Settings::default()
        };
        Self::start(items, patient).await
    }

    async fn start(items: usize, settings: Settings) -> Arc<Self> {
        let redis = Redis::start().unwrap();
        let url = redis.url();
        Self::over(items, redis, &url, settings).await
    }

    /// `redis`: what `url` leads to in the end.
    async fn over(items: usize, redis: Redis, url: &str, settings: Settings) -> Arc<Self> {
        let postgres = Postgres::start().unwrap();
        // A busy test machine is not an overloaded database.
        let pool = PgPoolOptions::new().max_connections(32).acquire_timeout(LIMIT);
        let database = Database::over(pool.connect_lazy(&postgres.url()).unwrap());
        database.install().await.unwrap();
        sqlx::raw_sql("create table item (id bigint primary key, version bigint not null)")
            .execute(database.pool())
            .await
            .unwrap();
        sqlx::query("insert into item select n, 0 from generate_series(0, $1 - 1) n")
            .bind(i64::try_from(items).unwrap())
            .execute(database.pool())
            .await
            .unwrap();
        let cache = Cache::open(url, settings).unwrap();
        cache.warm_up().await.unwrap();
        let world = Arc::new(Self {
            _postgres: postgres,
            redis,
            loader: Loader::start(&database),
            database,
            cache,
            loads: AtomicUsize::new(0),
            acknowledged: (0..items).map(|_| AtomicI64::new(0)).collect(),
        });
        // The first pass empties a Redis it does not know.
        assert!(world.pass().await.flushed);
        world
    }

    fn items(&self) -> Cached<i64> {
        self.cache.of("item").loader_limit(LIMIT)
    }

    async fn pass(&self) -> crate::cache::Applied {
        self.cache.apply_invalidations(&self.database).await.unwrap()
    }

    async fn load(&self, item: usize) -> Result<Option<i64>, sqlx::Error> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.loader.load(item).await
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Relaxed)
    }

    async fn read(&self, item: usize) -> Result<Option<i64>, CacheError<sqlx::Error>> {
        self.items().get_or_load(item, || self.load(item)).await
    }

    /// In one read.
    async fn read_all(&self, items: Range<usize>) -> HashMap<usize, i64> {
        let load = |items: Vec<usize>| async move {
            let loaded = try_join_all(items.iter().map(|item| self.load(*item))).await?;
            let found = items.into_iter().zip(loaded);
            Ok::<_, sqlx::Error>(found.filter_map(|(item, value)| Some((item, value?))).collect())
        };
        self.items().get_or_load_many(items, load).await.unwrap()
    }

    /// Fails if one is older than what was acknowledged before it began.
    async fn read_all_judged(&self, items: Range<usize>) {
        let before = items
            .clone()
            .map(|item| self.acknowledged[item].load(Ordering::SeqCst));
        let before: Vec<i64> = before.collect();
        let read = self.read_all(items.clone()).await;
        for (item, before) in items.zip(before) {
            let read = read[&item];
            assert!(
                read >= before,
                "item {item}: read {read} among others after {before} was acknowledged"
            );
        }
    }

    /// Fails if it is older than what was acknowledged before it began.
    async fn read_judged(&self, item: usize) {
        let before = self.acknowledged[item].load(Ordering::SeqCst);
        let read = self.read(item).await.unwrap().unwrap();
        assert!(
            read >= before,
            "item {item}: read {read} after {before} was acknowledged"
        );
    }

    async fn change(&self, item: usize) -> (Tx, i64) {
        let (tx, versions) = self.change_all(item..item + 1).await;
        (tx, versions[0].1)
    }

    async fn write(&self, item: usize) {
        self.write_all(item..item + 1).await;
    }

    /// In one transaction; their new versions.
    async fn change_all(&self, items: Range<usize>) -> (Tx, Vec<(i64, i64)>) {
        let mut tx = self.database.begin().await.unwrap();
        // In their order: two writers of the same items would wait for each other for ever.
        let update = "with locked as (select id from item where id = any($1) order by id for update)
            update item set version = version + 1 from locked where item.id = locked.id returning item.id, version";
        let versions = sqlx::query_as(update)
            .bind(ids(&items))
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        self.items().invalidate_all(&mut tx, items).await.unwrap();
        (tx, versions)
    }

    async fn write_all(&self, items: Range<usize>) {
        let (tx, versions) = self.change_all(items).await;
        tx.commit().await.unwrap();
        for (item, version) in versions {
            let item = usize::try_from(item).unwrap();
            self.acknowledged[item].fetch_max(version, Ordering::SeqCst);
        }
    }

    /// Applies all that is pending; then every entry must be what the database has.
    async fn assert_right_at_rest(&self) -> usize {
        loop {
            let applied = self.pass().await;
            if applied.rows == 0 && !applied.elsewhere {
                break;
            }
        }
        let versions: Vec<(i64, i64)> = sqlx::query_as("select id, version from item")
            .fetch_all(self.database.pool())
            .await
            .unwrap();
        let client = redis::Client::open(self.redis.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut kept = 0;
        for part in versions.chunks(1000) {
            let mut pipe = redis::pipe();
            for (id, _) in part {
                pipe.cmd("HGET").arg(format!("item:{id}")).arg("value");
            }
            let values: Vec<Option<i64>> = pipe.query_async(&mut connection).await.unwrap();
            for ((id, version), value) in part.iter().zip(values) {
                kept += usize::from(value.is_some());
                assert!(
                    value.is_none_or(|value| value == *version),
                    "item {id}: {value:?} is cached, {version} is true"
                );
            }
        }
        kept
    }
}

tokio::task_local! {
    static DELAYS: Delays;
}

/// What happens at the [`Point`]s of one task.
#[derive(Clone)]
struct Delays {
    /// Of the numbers that follow from it each is one roll (SplitMix64).
    dice: Arc<AtomicU64>,
    /// Of its points, the one where it stops for ever.
    dies: Option<Point>,
    died: Arc<Notify>,
}

impl Delays {
    fn new(dice: &mut StdRng, dies: Option<Point>) -> Self {
        Self {
            dice: Arc::new(AtomicU64::new(dice.random())),
            dies,
            died: Arc::default(),
        }
    }

    fn roll(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.dice.fetch_add(STEP, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 8
    }

    /// Nothing, another task's turn, or some time.
    async fn wait(&self) {
        match self.roll() {
            0..3 => {}
            3..5 => tokio::task::yield_now().await,
            millis => tokio::time::sleep(Duration::from_millis(millis - 4)).await,
        }
    }
}

pub(crate) async fn point(at: Point) {
    let Ok(delays) = DELAYS.try_with(Clone::clone) else {
        return;
    };
    delays.wait().await;
    if delays.dies == Some(at) {
        delays.died.notify_one();
        std::future::pending::<()>().await;
    }
}
