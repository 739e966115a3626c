//! When copies may be read: while no instance without Redis is about, as that one writes to PostgreSQL alone.
//!
//! Instances with Redis look at one row twice a second. One without Redis says in it that it is there, and waits until all the
//! others must have seen it before it writes; they read and write PostgreSQL alone until it has been gone for five seconds. Then,
//! and whenever Redis was restarted, emptied or exchanged, the epoch rises and no older copy is ever read again. So any mix of old and
//! new instances answers right, in both directions of the move.
//!
//! One with Redis that could not tell it of a change says the same of itself before it returns: an older copy may be there.
//!
//! Noted changes are applied here too, by one instance at a time (a lock of the database, for the length of a transaction).
//! Cut off from PostgreSQL, an instance goes on by what it saw last; Redis itself refuses it once the epoch has risen.

use std::time::Duration;

use sqlx::{Postgres, Row as _, Transaction};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::copies::Copies;
use super::rows::Rows;
use super::{Key, Sessions};
use crate::cache::PRIMARY;

const SWEEP_EVERY: Duration = Duration::from_secs(60);
const PASS_LIMIT: Duration = Duration::from_secs(10);
const REDIS_LIMIT: Duration = Duration::from_secs(1);
const CHANGES: i64 = 1000;

/// How quickly instances learn of each other; all of an app have the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between looks.
    pub(crate) look: Duration,
    /// What was seen longer ago is not relied upon.
    pub(crate) fresh: Duration,
    /// After announcing itself, until an instance without Redis writes: longer than `fresh`.
    pub(crate) announced: Duration,
    /// An instance without Redis that was not seen for so long is gone.
    pub(crate) gone: Duration,
    /// After its start, until an instance with Redis reads copies: others have noticed it.
    pub(crate) settled: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_millis(500),
            fresh: Duration::from_millis(1000),
            announced: Duration::from_millis(1500),
            gone: Duration::from_secs(5),
            settled: Duration::from_secs(3),
        }
    }
}

#[derive(Debug)]
pub(super) struct Place {
    pace: Pace,
    known: watch::Sender<Known>,
}

/// That copies are not to be read, said by this instance.
#[derive(Clone, Copy, Debug)]
struct Distrust {
    /// From when on all others know.
    from: Instant,
    /// Holds for [`Pace::gone`] after that.
    said: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Copies of this epoch may be read.
    epoch: Option<i64>,
    seen: Option<Instant>,
    since: Option<Instant>,
    /// The database did not answer the last look.
    is_cut_off: bool,
    distrust: Option<Distrust>,
}

/// The row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    epoch: i64,
    run_id: String,
    plain: bool,
    plain_is_gone: bool,
    nobody_was_here: bool,
}

impl Seen {
    /// What the row says next, of the Redis with this run id.
    fn next(&self, run_id: &str) -> Self {
        let plain_left = self.plain && self.plain_is_gone;
        let is_new = self.run_id != run_id || self.nobody_was_here || plain_left;
        Self {
            epoch: self.epoch + i64::from(is_new),
            run_id: run_id.to_owned(),
            plain: self.plain && !plain_left,
            ..self.clone()
        }
    }
}

impl Place {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            known: watch::Sender::default(),
        }
    }

    /// Of the copies that may be read now.
    pub(super) fn epoch(&self) -> Option<i64> {
        let known = *self.known.borrow();
        let is_fresh = known.seen.is_some_and(|seen| seen.elapsed() < self.pace.fresh);
        self.last_epoch().filter(|_| is_fresh || known.is_cut_off)
    }

    /// For who cannot ask the database.
    pub(super) fn last_epoch(&self) -> Option<i64> {
        let known = *self.known.borrow();
        let is_settled = known
            .since
            .is_some_and(|since| since.elapsed() >= self.pace.settled);
        known.epoch.filter(|_| is_settled)
    }

    /// What was seen is as old as the question.
    fn saw(&self, asked: Instant, epoch: Option<i64>) {
        self.known.send_modify(|known| {
            known.epoch = epoch;
            known.seen = Some(asked);
            known.since = known.since.or_else(|| Some(Instant::now()));
            known.is_cut_off = false;
        });
    }

    /// Of an instance without Redis: says that it is there; returns when all others know.
    pub(super) async fn announce(&self, rows: &Rows) -> Result<(), sqlx::Error> {
        say_plain(rows).await?;
        sleep(self.pace.announced).await;
        Ok(())
    }

    /// Copies may be older than what was written: returns when nobody reads any. While that holds it is said again, and only the
    /// first one waits.
    pub(super) async fn distrust(&self, rows: &Rows) -> Result<(), sqlx::Error> {
        let said = Instant::now();
        let known = self.known.borrow().distrust;
        // Half of the time is for those who are slow.
        let known = known.filter(|known| said - known.said < self.pace.gone / 2);
        if let Some(Distrust { from, said: last }) = known
            && said - last < self.pace.gone / 10
        {
            // Many changes at once do not queue for the one row.
            sleep_until(from).await;
            return Ok(());
        }
        say_plain(rows).await?;
        let from = known.map_or_else(|| Instant::now() + self.pace.announced, |known| known.from);
        self.known
            .send_modify(|known| known.distrust = Some(Distrust { from, said }));
        sleep_until(from).await;
        Ok(())
    }
}

impl Sessions {
    /// Before the first request: an instance without Redis announces itself if there are others with one.
    pub(crate) async fn arrive(&self) -> Result<(), sqlx::Error> {
        let inner = &self.inner;
        if let Some(copies) = &inner.copies {
            // Without Redis it is ready all the same.
            timeout(Duration::from_secs(1), copies.warm_up()).await.ok();
            return Ok(());
        }
        if inner.place.stay(&inner.rows).await? {
            sleep(inner.place.pace.announced).await;
        }
        Ok(())
    }

    /// For ever; started by each process of an app.
    pub(crate) async fn keep_right(self) {
        let mut swept = Instant::now();
        let mut was_well = true;
        loop {
            let passed = match timeout(PASS_LIMIT, self.pass()).await {
                Ok(passed) => passed,
                Err(_) => Err(PassError::Slow),
            };
            match passed {
                Ok(()) => was_well = true,
                Err(error) => {
                    if matches!(error, PassError::Database(_) | PassError::Slow) {
                        self.inner
                            .place
                            .known
                            .send_modify(|known| known.is_cut_off = true);
                    } else {
                        self.inner.place.saw(Instant::now(), None);
                    }
                    if std::mem::replace(&mut was_well, false) {
                        tracing::warn!(reason = %error, "copies of sessions are not looked after for now");
                    }
                }
            }
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                // Next time, then: what has ended is not read meanwhile.
                self.inner.rows.sweep().await.ok();
            }
            sleep(self.inner.place.pace.look.mul_f64(rand::random_range(0.8..1.0))).await;
        }
    }

    async fn pass(&self) -> Result<(), PassError> {
        let inner = &self.inner;
        match &inner.copies {
            Some(copies) => inner.place.pass(&inner.rows, copies).await,
            None => inner
                .place
                .stay(&inner.rows)
                .await
                .map(|_| ())
                .map_err(PassError::from),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    #[error("Redis does not answer: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("Redis does not answer within {REDIS_LIMIT:?}")]
    Silent,
    #[error("it took longer than {PASS_LIMIT:?}")]
    Slow,
}

async fn answer<T>(asked: impl Future<Output = redis::RedisResult<T>>) -> Result<T, PassError> {
    match timeout(REDIS_LIMIT, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(PassError::Silent),
    }
}

impl Place {
    /// Of an instance without Redis, while there are others with one; whether there are.
    async fn stay(&self, rows: &Rows) -> Result<bool, sqlx::Error> {
        let update = "update banyan.session_place set plain = true, plain_at = now()
            where redis_at > now() - interval '1 minute'";
        let updated = sqlx::query(update).execute(rows.database.pool()).await?;
        Ok(updated.rows_affected() > 0)
    }

    async fn pass(&self, rows: &Rows, copies: &Copies) -> Result<(), PassError> {
        let began = Instant::now();
        let looked = answer(copies.look()).await;
        let mut transaction = rows.database.pool().begin().await?;
        let lock = "select pg_try_advisory_xact_lock(hashtext('banyan sessions'))";
        let ours: bool = sqlx::query_scalar(lock).fetch_one(&mut *transaction).await?;
        let mut seen = self.read(&mut transaction).await?;
        if !ours {
            transaction.commit().await?;
            let (run_id, _) = looked?;
            let may = !seen.plain && seen.run_id == run_id;
            self.saw(began, may.then_some(seen.epoch));
            return Ok(());
        }
        // Also while Redis is away: those without it must know that there are others.
        let run_id = looked
            .as_ref()
            .map_or(seen.run_id.clone(), |(run_id, _)| run_id.clone());
        seen = seen.next(&run_id);
        let is_written = write(&mut transaction, &seen).await?;
        transaction.commit().await?;
        let (_, told) = looked?;
        if !is_written {
            self.saw(began, None);
            return Ok(());
        }
        if told != Some(seen.epoch) {
            answer(copies.tell(seen.epoch)).await?;
        }
        self.saw(began, (!seen.plain).then_some(seen.epoch));
        follow_changes(rows, copies).await
    }

    async fn read(&self, transaction: &mut Transaction<'static, Postgres>) -> Result<Seen, sqlx::Error> {
        let statement = format!(
            "{PRIMARY} select epoch, run_id, plain, plain_at < now() - make_interval(secs => $1) as plain_is_gone,
                redis_at < now() - interval '5 minutes' as nobody_was_here
             from banyan.session_place"
        );
        let query = sqlx::query(&statement).bind(self.pace.gone.as_secs_f64());
        let row = query.fetch_one(&mut **transaction).await?;
        Ok(Seen {
            epoch: row.try_get("epoch")?,
            run_id: row.try_get("run_id")?,
            plain: row.try_get("plain")?,
            plain_is_gone: row.try_get("plain_is_gone")?,
            nobody_was_here: row.try_get("nobody_was_here")?,
        })
    }
}

/// From the next look of each instance on, copies are not read.
async fn say_plain(rows: &Rows) -> Result<(), sqlx::Error> {
    let update = "update banyan.session_place set plain = true, plain_at = now()";
    sqlx::query(update).execute(rows.database.pool()).await?;
    Ok(())
}

/// Not if an instance without Redis has announced itself since the row was read.
async fn write(transaction: &mut Transaction<'static, Postgres>, seen: &Seen) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "update banyan.session_place set redis_at = now(), epoch = $1, run_id = $2, plain = $3
         where $3 or not plain or plain_at < now() - interval '1 second'",
    )
    .bind(seen.epoch)
    .bind(&seen.run_id)
    .bind(seen.plain)
    .execute(&mut **transaction)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// Redis first, then they are deleted: what is gone was applied.
async fn follow_changes(rows: &Rows, copies: &Copies) -> Result<(), PassError> {
    let mut transaction = rows.database.pool().begin().await?;
    let changes: Vec<(i64, Vec<u8>, i64)> = sqlx::query_as(
        "select id, session, version from banyan.session_change order by id limit $1 for update skip locked",
    )
    .bind(CHANGES)
    .fetch_all(&mut *transaction)
    .await?;
    if changes.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = changes.iter().map(|(id, ..)| *id).collect();
    let to_follow: Vec<(Key, i64)> = changes
        .into_iter()
        .filter_map(|(_, session, version)| Some((Key(session.try_into().ok()?), version)))
        .collect();
    answer(copies.follow(&to_follow)).await?;
    sqlx::query("delete from banyan.session_change where id = any($1)")
        .bind(&ids)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_epoch_begins_whenever_copies_may_be_old() {
        let seen = Seen {
            epoch: 7,
            run_id: "a".to_owned(),
            plain: false,
            plain_is_gone: true,
            nobody_was_here: false,
        };
        assert_eq!(seen.next("a"), seen, "nothing has changed");
        assert_eq!(
            seen.next("b").epoch,
            8,
            "another Redis, or one that was restarted"
        );
        let nobody = Seen {
            nobody_was_here: true,
            ..seen.clone()
        };
        assert_eq!(
            nobody.next("a").epoch,
            8,
            "changes were not noted for who was away"
        );
        let mixed = Seen {
            plain: true,
            plain_is_gone: false,
            ..seen.clone()
        };
        assert_eq!(mixed.next("a"), mixed, "an instance without Redis is there");
        let left = Seen { plain: true, ..seen };
        let next = left.next("a");
        assert_eq!(
            (next.epoch, next.plain),
            (8, false),
            "it has left; it wrote to PostgreSQL alone"
        );
    }
}
