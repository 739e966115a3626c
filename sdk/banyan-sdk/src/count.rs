//! Counters written behind: views, downloads. Increments are added up in Redis (`REDIS_URL`, the one that evicts nothing) and come to the
//! database some seconds later, many in one statement.
//!
//! Only for what may be a little late and a little less: up to one second of increments goes with a Redis that loses its
//! last second, and those that it cannot be told are dropped. Exact counts belong in the transaction that they count.
//!
//! Increments of one second of Redis's clock are a *window*. Windows are applied in order, each in one transaction with the mark that says
//! how far the counter has come, then dropped: an applied window that is still there, or there again after Redis went back
//! to an older file, is known by the mark. So each increment comes to the database once at most. (Seconds, not numbers that a Redis
//! counts: those would begin anew. Clocks of several Redis servers must agree to two seconds.)

use std::fmt::{self, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::Script;
use tokio::time::{sleep, timeout};

use crate::Database;
use crate::point::{Point, point};
use crate::state::State;
use crate::task::{self, Running};

const APPLY_EVERY: Duration = Duration::from_secs(5);
const PASS_LIMIT: Duration = Duration::from_secs(30);
const REDIS_LIMIT: Duration = Duration::from_secs(5);

/// Why increments are not in the database yet.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    #[error("the increments cannot be written: {0}")]
    Database(#[from] sqlx::Error),
    #[error("Redis cannot be asked for the increments: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("Redis does not answer within {REDIS_LIMIT:?}")]
    Silent,
}

/// One counter per key. A cheap clone; the last one ends its task, what is in Redis then is applied by other processes or later.
#[derive(Clone)]
pub struct Counter {
    core: Arc<Core>,
    _keeps: Arc<Running>,
}

struct Core {
    name: &'static str,
    /// Takes keys as `$1 text[]` and amounts as `$2 bigint[]`.
    statement: &'static str,
    database: Database,
    /// `None`: each increment is written at once.
    state: Option<State>,
    scripts: Scripts,
    dropped: AtomicU64,
}

struct Scripts {
    add: Script,
    take: Script,
    drop: Script,
}

impl Counter {
    pub(crate) fn new(
        database: Database,
        state: Option<State>,
        name: &'static str,
        statement: &'static str,
    ) -> Self {
        let core = Arc::new(Core::new(database, state, name, statement));
        let keeps = task::start(Arc::clone(&core).keep());
        Self {
            core,
            _keeps: Arc::new(keeps),
        }
    }

    /// Never fails: an increment that cannot be counted is dropped, see [`Self::dropped`].
    pub async fn add(&self, key: impl Display, by: i64) {
        self.core.add(&key.to_string(), by).await;
    }

    /// Increments of this process that neither Redis nor the database took.
    pub fn dropped(&self) -> u64 {
        self.core.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("name", &self.core.name).finish()
    }
}

impl Core {
    fn new(database: Database, state: Option<State>, name: &'static str, statement: &'static str) -> Self {
        Self {
            name,
            statement,
            database,
            state,
            scripts: Scripts {
                add: Script::new(include_str!("lua/count_add.lua")),
                take: Script::new(include_str!("lua/count_take.lua")),
                drop: Script::new(include_str!("lua/count_drop.lua")),
            },
            dropped: AtomicU64::new(0),
        }
    }

    /// All of a counter's keys are of one slot.
    fn windows(&self) -> String {
        format!("count:{{{}}}", self.name)
    }

    async fn add(&self, key: &str, by: i64) {
        let counted = match &self.state {
            Some(state) => {
                let mut script = self.scripts.add.key(self.windows());
                script.arg(key).arg(by);
                let asked = async move |mut redis| script.invoke_async::<i64>(&mut redis).await;
                state.ask(asked).await.is_some()
            }
            None => self.write_one(key, by).await.is_ok(),
        };
        if !counted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn write_one(&self, key: &str, by: i64) -> Result<(), sqlx::Error> {
        sqlx::query(self.statement)
            .bind(&[key][..])
            .bind(&[by][..])
            .execute(self.database.pool())
            .await
            .map(|_| ())
    }

    async fn keep(self: Arc<Self>) {
        if self.state.is_none() {
            return;
        }
        let mut was_well = true;
        loop {
            sleep(APPLY_EVERY.mul_f64(rand::random_range(0.8..1.2))).await;
            let reason = match timeout(PASS_LIMIT, self.apply()).await {
                Ok(Ok(_)) => {
                    was_well = true;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it took longer than {PASS_LIMIT:?}"),
            };
            if std::mem::replace(&mut was_well, false) {
                tracing::warn!(counter = self.name, reason, "increments wait in Redis for now");
            }
        }
    }

    /// All windows that have ended; how many came to the database.
    async fn apply(&self) -> Result<u64, CountError> {
        let mut applied = 0;
        while let Some(is_new) = self.apply_oldest().await? {
            applied += u64::from(is_new);
        }
        Ok(applied)
    }

    /// `None`: there is none, or another process is at it. Else whether it was not in the database yet.
    async fn apply_oldest(&self) -> Result<Option<bool>, CountError> {
        let Some(state) = &self.state else { return Ok(None) };
        let mut redis = state.manager();
        let mut transaction = self.database.pool().begin().await?;
        let lock = "select pg_try_advisory_xact_lock(hashtext('banyan count ' || $1))";
        let ours: bool = sqlx::query_scalar(lock)
            .bind(self.name)
            .fetch_one(&mut *transaction)
            .await?;
        if !ours {
            return Ok(None);
        }
        let take = self.scripts.take.key(self.windows());
        let taken: Vec<String> = answer(take.invoke_async(&mut redis)).await?;
        let Some(window) = Window::parse(&taken) else {
            return Ok(None);
        };
        // Its transaction comes after the window's end: whoever adds to it has long been answered.
        let is_new = sqlx::query(
            "insert into banyan.count_mark (name, second) values ($1, $2)
             on conflict (name) do update set second = excluded.second where count_mark.second < excluded.second",
        )
        .bind(self.name)
        .bind(window.second)
        .execute(&mut *transaction)
        .await?
        .rows_affected()
            > 0;
        if is_new {
            sqlx::query(self.statement)
                .bind(&window.keys)
                .bind(&window.amounts)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        point(Point::Counted).await;
        let mut drop = self.scripts.drop.key(self.windows());
        drop.arg(window.second);
        answer(drop.invoke_async::<i64>(&mut redis)).await?;
        Ok(Some(is_new))
    }
}

struct Window {
    second: i64,
    keys: Vec<String>,
    amounts: Vec<i64>,
}

impl Window {
    fn parse(taken: &[String]) -> Option<Self> {
        let (second, rest) = taken.split_first()?;
        let pairs = rest.as_chunks::<2>().0;
        Some(Self {
            second: second.parse().ok()?,
            keys: pairs.iter().map(|[key, _]| key.clone()).collect(),
            amounts: pairs.iter().filter_map(|[_, by]| by.parse().ok()).collect(),
        })
    }
}

async fn answer<T>(asked: impl Future<Output = redis::RedisResult<T>>) -> Result<T, CountError> {
    match timeout(REDIS_LIMIT, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(CountError::Silent),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Applied when the test says so.
    pub(crate) struct Uncounted(Core);

    impl Uncounted {
        pub(crate) fn new(database: Database, redis: Option<&str>, statement: &'static str) -> Self {
            let state = redis.map(|url| State::open(url, REDIS_LIMIT).unwrap());
            Self(Core::new(database, state, "views", statement))
        }

        pub(crate) async fn add(&self, key: &str, by: i64) {
            self.0.add(key, by).await;
        }

        pub(crate) async fn apply(&self) -> u64 {
            self.0.apply().await.unwrap()
        }
    }
}
