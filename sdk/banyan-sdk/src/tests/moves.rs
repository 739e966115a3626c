//! Sessions while instances with and without Redis come and go, and Redis dies.

use std::collections::HashMap;

use tower_sessions::SessionStore as _;
use tower_sessions::session::{Id, Record};

use super::*;
use crate::Sessions;
use crate::session::{Lifetimes, Pace};
use crate::state::State;
use crate::task::{self, Running};

/// As in life, in less time.
const PACE: Pace = Pace {
    look: Duration::from_millis(20),
    fresh: Duration::from_millis(200),
    announced: Duration::from_millis(250),
    gone: Duration::from_millis(500),
    settled: Duration::from_millis(100),
};

struct Instance {
    sessions: Sessions,
    database: Database,
    _keeps: Running,
}

struct Fleet {
    postgres: Postgres,
    redis: Redis,
    instances: Vec<Instance>,
    dice: StdRng,
    /// What each session holds; `None`: it has ended.
    truth: HashMap<Id, Option<i64>>,
}

impl Fleet {
    async fn new(seed: u64) -> Self {
        let fleet = Self {
            postgres: Postgres::start().unwrap(),
            redis: Redis::start().unwrap(),
            instances: Vec::new(),
            dice: StdRng::seed_from_u64(seed),
            truth: HashMap::new(),
        };
        fleet.database().install().await.unwrap();
        fleet
    }

    fn database(&self) -> Database {
        let pool = PgPoolOptions::new().max_connections(8).acquire_timeout(LIMIT);
        Database::over(pool.connect_lazy(&self.postgres.url()).unwrap())
    }

    async fn join(&mut self, has_redis: bool) {
        let url = self.redis.url();
        self.join_with(has_redis.then_some(&url)).await;
    }

    async fn join_with(&mut self, redis: Option<&str>) {
        let database = self.database();
        // A busy test machine is not a slow Redis.
        let state = redis.map(|url| State::open(url, LIMIT).unwrap());
        let sessions = Sessions::new(database.clone(), state, Lifetimes::default(), PACE);
        sessions.arrive().await.unwrap();
        let keeps = task::start(sessions.clone().keep_right());
        self.instances.push(Instance {
            sessions,
            database,
            _keeps: keeps,
        });
    }

    fn leave(&mut self) {
        self.instances.remove(0);
    }

    /// Until each reads copies.
    async fn settled(&self) {
        let settled = async {
            while !self.instances.iter().all(|one| one.sessions.reads_copies()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, settled)
            .await
            .expect("copies are read in the end");
    }

    fn any(&mut self) -> Sessions {
        let number = self.dice.random_range(0..self.instances.len());
        self.instances[number].sessions.clone()
    }

    async fn create(&mut self) -> Id {
        let mut new = record(Id::default(), 0, "7");
        self.any().create(&mut new).await.unwrap();
        self.truth.insert(new.id, Some(0));
        new.id
    }

    async fn check(&mut self, id: Id) {
        let loaded = self.any().load(&id).await.unwrap();
        let value = loaded.map(|record| record.data["value"].as_i64().unwrap());
        assert_eq!(
            value,
            self.truth[&id],
            "{:?}",
            self.instances.iter().map(|one| &one.sessions).collect::<Vec<_>>()
        );
    }

    /// So many random things, each at any instance, each judged.
    async fn use_it(&mut self, count: usize) {
        for _ in 0..count {
            let known: Vec<Id> = self.truth.keys().copied().collect();
            let id = match known.len() {
                0 => self.create().await,
                many => known[self.dice.random_range(0..many)],
            };
            match self.dice.random_range(0..20) {
                0..3 => {
                    self.create().await;
                }
                3..8 => {
                    let value = self.dice.random();
                    self.any().save(&record(id, value, "7")).await.unwrap();
                    self.truth.entry(id).and_modify(|old| *old = old.map(|_| value));
                }
                8 => {
                    self.any().delete(&id).await.unwrap();
                    self.truth.insert(id, None);
                }
                _ => {}
            }
            self.check(id).await;
        }
    }

    async fn check_all(&mut self) {
        for id in self.truth.keys().copied().collect::<Vec<_>>() {
            self.check(id).await;
        }
    }
}

fn record(id: Id, value: i64, owner: &str) -> Record {
    let data = [("value", value.into()), ("user_id", owner.into())];
    Record {
        id,
        data: data
            .map(|(key, value): (&str, serde_json::Value)| (key.to_owned(), value))
            .into(),
        expiry_date: time::OffsetDateTime::now_utc() + time::Duration::days(14),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mix_of_instances_on_the_way_to_redis_and_back_loses_or_ages_a_session() {
    for seed in 0..2 {
        let mut fleet = Fleet::new(seed).await;
        fleet.join(false).await;
        fleet.join(false).await;
        fleet.use_it(40).await;
        for has_redis in [true, true] {
            fleet.join(has_redis).await;
            fleet.use_it(40).await;
            fleet.leave();
            fleet.use_it(20).await;
        }
        fleet.settled().await;
        fleet.use_it(60).await;
        fleet.redis.kill();
        fleet.use_it(20).await;
        fleet.redis.restart().unwrap();
        fleet.use_it(20).await;
        fleet.settled().await;
        fleet.use_it(40).await;
        for has_redis in [false, false] {
            fleet.join(has_redis).await;
            fleet.use_it(40).await;
            fleet.leave();
            fleet.use_it(20).await;
        }
        fleet.join(true).await;
        fleet.use_it(40).await;
        fleet.check_all().await;
        println!("seed {seed}: {} sessions", fleet.truth.len());
    }
}

/// Two instances that read copies.
async fn two() -> Fleet {
    let mut fleet = Fleet::new(1).await;
    fleet.join(true).await;
    fleet.join(true).await;
    fleet.settled().await;
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_out_beats_saves_and_reads_that_run_meanwhile() {
    let mut fleet = two().await;
    for round in 0..60 {
        let id = fleet.create().await;
        let others = (0..6).map(|number| {
            let (a, b) = (fleet.any(), fleet.any());
            start(async move {
                a.save(&record(id, number, "7")).await.unwrap();
                b.load(&id).await.unwrap();
            })
        });
        let others: Vec<_> = others.collect();
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        fleet.any().delete(&id).await.unwrap();
        fleet.truth.insert(id, None);
        for instance in &fleet.instances {
            assert!(instance.sessions.load(&id).await.unwrap().is_none(), "at once");
        }
        for other in others {
            other.await.unwrap();
        }
        for instance in &fleet.instances {
            assert!(
                instance.sessions.load(&id).await.unwrap().is_none(),
                "and for ever"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_sessions_of_a_user_end_but_the_one_that_asked() {
    let mut fleet = two().await;
    let (asks, other) = (fleet.create().await, fleet.create().await);
    let mut stranger = record(Id::default(), 5, "8");
    fleet.any().create(&mut stranger).await.unwrap();
    assert_eq!(fleet.any().end_all(7, Some(asks)).await.unwrap(), 1);
    for instance in &fleet.instances {
        assert!(instance.sessions.load(&other).await.unwrap().is_none());
        assert!(instance.sessions.load(&asks).await.unwrap().is_some());
        assert!(instance.sessions.load(&stranger.id).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_could_not_be_told_of_is_found_by_nobody_who_comes_after() {
    let mut fleet = two().await;
    let nobody = banyan_testkit::ports::Port::free();
    fleet
        .join_with(Some(&format!("redis://{}", nobody.address())))
        .await;
    let cut = fleet.instances[2].sessions.clone();
    let reads = |fleet: &Fleet| fleet.instances[..2].iter().all(|one| one.sessions.reads_copies());
    let (id, out) = (fleet.create().await, fleet.create().await);
    for instance in &fleet.instances {
        // Copies of both are there.
        assert!(instance.sessions.load(&id).await.unwrap().is_some());
        assert!(instance.sessions.load(&out).await.unwrap().is_some());
    }
    assert!(reads(&fleet));
    for value in 1..20 {
        cut.save(&record(id, value, "7")).await.unwrap();
        fleet.truth.insert(id, Some(value));
        fleet.check(id).await;
    }
    cut.delete(&out).await.unwrap();
    fleet.truth.insert(out, None);
    fleet.check_all().await;
    // It is gone, or has nothing to tell: copies are read again, and are right.
    fleet.instances.truncate(2);
    fleet.settled().await;
    fleet.check_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_redis_could_not_be_told_is_made_up_for() {
    let fleet = two().await;
    let [one, other] = [0, 1].map(|at: usize| &fleet.instances[at].sessions);
    let mut new = record(Id::default(), 1, "7");
    one.create(&mut new).await.unwrap();
    // Another that never reaches Redis: it dies after its commit.
    one.end_in_database_alone(&new.id).await;
    let told = async {
        while other.load(&new.id).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, told)
        .await
        .expect("the noted end is applied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_sessions_are_read_and_not_changed() {
    let mut fleet = two().await;
    let id = fleet.create().await;
    let cut_off = fleet.instances.remove(0);
    cut_off.database.pool().close().await;
    let loaded = cut_off.sessions.load(&id).await.unwrap();
    assert_eq!(loaded.unwrap().data["value"], 0);
    assert!(cut_off.sessions.save(&record(id, 1, "7")).await.is_err());
    assert!(
        cut_off.sessions.load(&Id::default()).await.is_err(),
        "it cannot know"
    );
    fleet.any().delete(&id).await.unwrap();
    assert!(cut_off.sessions.load(&id).await.unwrap().is_none(), "Redis knows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_when_it_is_not_used_and_at_the_latest_when_its_time_is_over() {
    let mut fleet = Fleet::new(1).await;
    fleet.join(false).await;
    let pool = fleet.instances[0].database.pool().clone();
    let age = async |what: &str| {
        let update = format!("update banyan.session set {what}");
        sqlx::raw_sql(&update).execute(&pool).await.unwrap();
    };
    let id = fleet.create().await;
    age("idle_until = now() + interval '10 minutes'").await;
    fleet.check(id).await;
    let prolonged = async {
        loop {
            let query =
                sqlx::query_scalar("select idle_until > now() + interval '20 minutes' from banyan.session");
            if query.fetch_one(&pool).await.unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, prolonged)
        .await
        .expect("use prolongs it");
    age("absolute_until = now() - interval '1 second'").await;
    fleet.truth.insert(id, None);
    fleet.check(id).await;
    let id = fleet.create().await;
    age("idle_until = now() - interval '1 second'").await;
    fleet.truth.insert(id, None);
    fleet.check(id).await;
}
