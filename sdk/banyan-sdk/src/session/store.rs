//! The store behind the sessions: PostgreSQL first, then the copy.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error, Result};

use super::copies::{Found, Told};
use super::rows::{Stamp, What, Written};
use super::{Key, Sessions, cookie, owner_of};
use crate::task;

/// What was read longer ago is not copied: the mark of an end might be gone by then.
const COPY_LIMIT: Duration = Duration::from_secs(60);
const PROLONG_LIMIT: Duration = Duration::from_secs(5);

#[async_trait]
impl SessionStore for Sessions {
    async fn create(&self, record: &mut Record) -> Result<()> {
        loop {
            match self.write(record, true).await? {
                Written::Done(_) => return Ok(()),
                Written::Nothing => record.id = Id::default(),
                Written::Unannounced => self.announce().await?,
            }
        }
    }

    async fn save(&self, record: &Record) -> Result<()> {
        loop {
            match self.write(record, false).await? {
                // Or it ended meanwhile: a log-out wins.
                Written::Done(_) | Written::Nothing => return Ok(()),
                Written::Unannounced => self.announce().await?,
            }
        }
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let key = Key::of(id);
        let epoch = self.inner.place.epoch();
        match self.find_copy(epoch, key).await {
            Found::Here { data, left, is_final } => {
                let stamp = Stamp {
                    version: 0,
                    left,
                    is_final,
                };
                return self.use_it(id, &data, stamp).map(Some);
            }
            Found::Ended => return Ok(None),
            Found::Unknown => {}
        }
        let began = Instant::now();
        let loaded = match self.inner.rows.load(key).await {
            Ok(loaded) => loaded,
            Err(error) => return self.load_without_database(id, error).await,
        };
        let Some((data, stamp)) = loaded else {
            return Ok(None);
        };
        if let (Some(copies), Some(_)) = (&self.inner.copies, epoch)
            && began.elapsed() < COPY_LIMIT
        {
            // Nothing older is there: it would have been found.
            let _not_needed = copies.put(epoch, key, &data, stamp).await;
        }
        self.use_it(id, &data, stamp).map(Some)
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        let key = Key::of(id);
        while !self.inner.rows.end(key).await.map_err(away)? {
            self.announce().await?;
        }
        self.forget_copies(&[key]).await.map_err(away)
    }
}

impl Sessions {
    /// The row, then the copy.
    async fn write(&self, record: &Record, is_new: bool) -> Result<Written> {
        let (owner, data, epoch) = (owner_of(record), encode(record)?, self.inner.place.last_epoch());
        let what = What {
            key: Key::of(&record.id),
            owner: owner.as_deref(),
            data: &data,
            until: record.expiry_date,
        };
        let rows = &self.inner.rows;
        let written = if is_new {
            rows.create(what).await
        } else {
            rows.save(what).await
        };
        let written = written.map_err(away)?;
        if let (Written::Done(stamp), Some(copies)) = (written, &self.inner.copies) {
            let told = copies.put(epoch, what.key, &data, stamp).await;
            // Of a new one there is nothing older.
            if !is_new {
                self.settle(told).await.map_err(away)?;
            }
        }
        Ok(written)
    }

    async fn announce(&self) -> Result<()> {
        let announced = self.inner.place.announce(&self.inner.rows);
        announced.await.map_err(away)
    }

    async fn find_copy(&self, epoch: Option<i64>, key: Key) -> Found {
        match (&self.inner.copies, epoch) {
            (Some(copies), Some(epoch)) => copies.get(epoch, key).await,
            _ => Found::Unknown,
        }
    }

    /// Of sessions that have ended.
    pub(super) async fn forget_copies(&self, keys: &[Key]) -> std::result::Result<(), sqlx::Error> {
        let Some(copies) = &self.inner.copies else {
            return Ok(());
        };
        let mut all = Told::Yes;
        for key in keys {
            if copies.end(*key).await == Told::NotSure {
                all = Told::NotSure;
            }
        }
        self.settle(all).await
    }

    /// Returns when no instance finds what was written before the change.
    async fn settle(&self, told: Told) -> std::result::Result<(), sqlx::Error> {
        match told {
            Told::Yes => Ok(()),
            Told::NotSure => self.inner.place.distrust(&self.inner.rows).await,
        }
    }

    /// The copy as it was last known: nobody can have ended a session without the database.
    async fn load_without_database(&self, id: &Id, error: sqlx::Error) -> Result<Option<Record>> {
        match self.find_copy(self.inner.place.last_epoch(), Key::of(id)).await {
            Found::Here { data, left, .. } => decode(id, &data, left).map(Some),
            Found::Ended => Ok(None),
            Found::Unknown => Err(away(error)),
        }
    }

    /// Prolongs it if a tenth of its idle time is over; nobody waits for that.
    fn use_it(&self, id: &Id, data: &str, stamp: Stamp) -> Result<Record> {
        let idle = i64::try_from(self.inner.lifetimes.idle.as_millis()).unwrap_or(i64::MAX);
        if !stamp.is_final && stamp.left < idle - idle / 10 {
            let (sessions, key) = (self.clone(), Key::of(id));
            task::start_if_running(async move {
                timeout(PROLONG_LIMIT, sessions.prolong(key)).await.ok();
            });
        }
        decode(id, data, stamp.left)
    }

    async fn prolong(&self, key: Key) {
        let Some(_turn) = Turn::of(self, key) else { return };
        if let Ok(Some(stamp)) = self.inner.rows.prolong(key).await
            && let (Some(copies), Some(epoch)) = (&self.inner.copies, self.inner.place.last_epoch())
        {
            copies.prolong(epoch, key, stamp).await;
        }
    }
}

/// One prolongs a session at a time; the others need not.
struct Turn<'s> {
    sessions: &'s Sessions,
    key: Key,
}

impl<'s> Turn<'s> {
    fn of(sessions: &'s Sessions, key: Key) -> Option<Self> {
        let mut prolonged = sessions
            .inner
            .prolonged
            .lock()
            .expect("no holder of this lock panics");
        prolonged.insert(key).then_some(Self { sessions, key })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut prolonged = self
            .sessions
            .inner
            .prolonged
            .lock()
            .expect("no holder of this lock panics");
        prolonged.remove(&self.key);
    }
}

fn encode(record: &Record) -> Result<String> {
    serde_json::to_string(&record.data).map_err(|error| Error::Encode(error.to_string()))
}

fn decode(id: &Id, data: &str, left: i64) -> Result<Record> {
    Ok(Record {
        id: *id,
        data: serde_json::from_str(data).map_err(|error| Error::Decode(error.to_string()))?,
        expiry_date: OffsetDateTime::now_utc() + time::Duration::milliseconds(left),
    })
}

fn away(error: sqlx::Error) -> Error {
    cookie::note_away();
    Error::Backend(format!("the sessions cannot be reached: {error}"))
}

#[cfg(test)]
impl Sessions {
    pub(crate) fn reads_copies(&self) -> bool {
        self.inner.place.epoch().is_some()
    }

    pub(crate) async fn end_in_database_alone(&self, id: &Id) {
        assert!(self.inner.rows.end(Key::of(id)).await.is_ok());
    }
}
