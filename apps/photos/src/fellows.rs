//! Instances with a cache beside some without: while one is added to a running system or taken away.
//!
//! Who has no Redis cannot tell it what a write has changed; the row of the write's transaction comes to it a second later. So
//! nobody reads from the cache while an instance without one is there, and that one serves nobody before all have noticed.
//! Who is about to read says so first, then looks once more: of two who come at once, one sees the other.
//!
//! Limit: a process that was stopped for longer than 7 s and goes on writing counts as gone until its next beat;
//! its writes come to the cache by their rows.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

const LOOK_EVERY: Duration = Duration::from_millis(700);
/// Of looks: a row is written that often.
const SAY_EVERY: u32 = 3;
/// A row that is older is of a process that was killed.
const LIVE: &str = "seen_at > clock_timestamp() - interval '7 s'";
/// Longer than rows of the dead count.
const JOIN_LIMIT: Duration = Duration::from_secs(20);
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

pub(crate) struct Fellows {
    pool: PgPool,
    has_cache: bool,
    /// Set when this process has joined.
    node: OnceLock<i32>,
    /// All who are there have the cache, and it knows all that others wrote.
    reads: AtomicBool,
}

/// What a look finds.
#[derive(sqlx::FromRow)]
struct Look {
    now: OffsetDateTime,
    /// Somebody is there without a cache.
    lacking: bool,
    /// Of the rows that nobody has told the cache yet.
    oldest_untold: Option<OffsetDateTime>,
}

impl Fellows {
    pub(crate) fn new(pool: PgPool, has_cache: bool) -> Self {
        Self {
            pool,
            has_cache,
            node: OnceLock::new(),
            reads: AtomicBool::new(false),
        }
    }

    /// Whether reads may come from the cache now.
    pub(crate) fn read_from_cache(&self) -> bool {
        self.reads.load(Ordering::Acquire)
    }

    /// Before the first request. Without a cache: returns when nobody reads from one any more.
    pub(crate) async fn join(&self, node: u16) -> Result<(), sqlx::Error> {
        let node = i32::from(node);
        self.say(node, false).await?;
        let give_up = Instant::now() + JOIN_LIMIT;
        while !self.has_cache && self.somebody_reads().await? && Instant::now() < give_up {
            sleep(LOOK_EVERY / 4).await;
        }
        self.node.set(node).ok();
        Ok(())
    }

    /// For ever, beside the requests.
    pub(crate) async fn stay(&self) {
        let mut all_have_it_since = None;
        for turn in 0_u32.. {
            sleep(LOOK_EVERY).await;
            let Some(node) = self.node.get() else { continue };
            // A database that is away for a moment changes nothing: nobody's write is acknowledged meanwhile.
            if let Err(error) = self.beat(*node, turn, &mut all_have_it_since).await {
                tracing::debug!(%error, "no look at the other instances");
            }
        }
    }

    pub(crate) async fn leave(&self) {
        let Some(node) = self.node.get() else { return };
        let gone = sqlx::query("delete from fellows where node = $1").bind(node);
        // Else it counts as gone a little later.
        timeout(LEAVE_LIMIT, gone.execute(&self.pool)).await.ok();
    }

    async fn beat(
        &self,
        node: i32,
        turn: u32,
        all_have_it_since: &mut Option<OffsetDateTime>,
    ) -> Result<(), sqlx::Error> {
        let reads = self.read_from_cache();
        if turn.is_multiple_of(SAY_EVERY) {
            self.say(node, reads).await?;
        }
        if !self.has_cache {
            return Ok(());
        }
        let look = self.look().await?;
        if look.lacking {
            *all_have_it_since = None;
            self.reads.store(false, Ordering::Release);
            return if reads {
                self.say(node, false).await
            } else {
                Ok(())
            };
        }
        let since = *all_have_it_since.get_or_insert(look.now);
        // What was written until then without telling the cache has been told by its rows.
        if !reads && look.oldest_untold.is_none_or(|oldest| oldest > since) {
            self.say(node, true).await?;
            let may = !self.look().await?.lacking;
            self.reads.store(may, Ordering::Release);
        }
        Ok(())
    }

    async fn say(&self, node: i32, reads: bool) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into fellows (node, has_cache, reads) values ($1, $2, $3)
             on conflict (node) do update
             set has_cache = excluded.has_cache, reads = excluded.reads, seen_at = clock_timestamp()",
        )
        .bind(node)
        .bind(self.has_cache)
        .bind(reads)
        .execute(&self.pool)
        .await
        .map(drop)
    }

    async fn look(&self) -> Result<Look, sqlx::Error> {
        sqlx::query_as(&format!(
            "/* banyan: fresh=primary */
             select clock_timestamp() as now,
                    exists (select from fellows where not has_cache and {LIVE}) as lacking,
                    (select min(created_at) from banyan.invalidation where applied_at is null) as oldest_untold"
        ))
        .fetch_one(&self.pool)
        .await
    }

    async fn somebody_reads(&self) -> Result<bool, sqlx::Error> {
        let sql =
            format!("/* banyan: fresh=primary */ select exists (select from fellows where reads and {LIVE})");
        sqlx::query_scalar(&sql).fetch_one(&self.pool).await
    }
}
