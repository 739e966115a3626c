//! Asks the primary each second what its sessions wait for and how much log it has written, and now and then how large things are.
//!
//! One task with one connection, never on a statement's path. A primary that does not answer costs its figures only. Definitions are
//! read here for figures where nobody else reads them (without replicas), once in a while.

mod whole;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_postgres::{Client, Row, Statement};

use banyan_runtime::{Clock, Tasks};
use banyan_topology::signals::{IndexSignal, ServerSignals, TableSignal, WaitEvent};

use crate::fresh::Entrance;
use crate::fresh::entrance::EnterError;

const EVERY: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);
/// Some 2 µs of the server's time per table.
const SIZES_EVERY: Duration = Duration::from_secs(15);
/// What rates and shares look back on.
const WINDOW: usize = 60;
/// Kinds of waits that are counted; more are "other".
const KINDS: usize = 100;
const TABLES: i64 = 100;
const INDEXES: usize = 20;

/// A lock that somebody holds, or a disk that is slow, ends the question and not the others' work.
const SETTINGS: &str = "SET statement_timeout = '2s'; SET lock_timeout = '100ms'; SET jit = off";
const ACTIVITY: &str = "
SELECT coalesce(wait_event_type, 'CPU'), coalesce(wait_event, ''), count(*)
  FROM pg_stat_activity
 WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid()
 GROUP BY 1, 2";
const WRITTEN: &str =
    "SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE (pg_current_wal_insert_lsn() - '0/0')::int8 END";
const TABLE_SIZES: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, pg_table_size(c.oid)::int8, pg_indexes_size(c.oid)::int8,
       coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0), coalesce(s.seq_scan, 0), coalesce(s.seq_tup_read, 0),
       coalesce(s.idx_scan, 0), coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0),
       extract(epoch FROM now() - greatest(s.last_vacuum, s.last_autovacuum))::int8
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'banyan')
 ORDER BY pg_relation_size(c.oid) DESC, 2, 3 LIMIT $1";
const INDEX_SIZES: &str = "
SELECT i.indrelid, c.relname::text, pg_relation_size(c.oid)::int8, coalesce(s.idx_scan, 0), i.indisunique
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = c.oid
 WHERE i.indrelid = ANY($1) ORDER BY 3 DESC, 2";

/// What is known of the primary.
#[derive(Clone, Debug, Default)]
pub(super) struct Sampled {
    pub(super) server: ServerSignals,
    /// How often a session was seen so, since the proxy started: by kind and event of the wait.
    pub(super) seen: BTreeMap<(String, String), u64>,
}

/// Where the primary is, or why it cannot be asked; `Ok(None)`: there is none.
pub(super) type Login = Result<Option<Entrance>, String>;

/// Publishes what it learns to `told`; ends with the process.
pub(super) async fn run(mut logins: watch::Receiver<Login>, told: watch::Sender<Arc<Sampled>>, tasks: Tasks) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sampler = Sampler {
        tasks,
        session: None,
        minute: Minute::default(),
        sampled: Sampled::default(),
        sized: None,
    };
    loop {
        tick.tick().await;
        let changed = match logins.has_changed() {
            Ok(changed) => changed,
            Err(_ended) => return,
        };
        if changed {
            // Another primary counts its log from elsewhere.
            sampler.session = None;
            sampler.minute = Minute::default();
            sampler.sampled.server.database = None;
            sampler.sized = None;
        }
        let login = logins.borrow_and_update().clone();
        sampler.look(&login).await;
        told.send_replace(Arc::new(sampler.sampled.clone()));
    }
}

struct Session {
    client: Client,
    activity: Statement,
    written: Statement,
}

struct Sampler {
    tasks: Tasks,
    session: Option<Session>,
    minute: Minute,
    sampled: Sampled,
    sized: Option<Instant>,
}

impl Sampler {
    async fn look(&mut self, login: &Login) {
        let looked = match login {
            Ok(Some(login)) => tokio::time::timeout(LIMIT, self.ask(login))
                .await
                .unwrap_or_else(|_| Err("it did not answer in time".to_owned())),
            Ok(None) => Err("nobody is primary".to_owned()),
            Err(why) => Err(why.clone()),
        };
        if looked.is_err() {
            self.session = None;
        }
        self.sampled.server.problem = looked.err();
        self.minute.tell(&mut self.sampled.server);
    }

    async fn ask(&mut self, login: &Entrance) -> Result<(), String> {
        let session = match self.session.take() {
            Some(session) => session,
            None => connect(login, &self.tasks).await?,
        };
        let waits = session
            .client
            .query(&session.activity, &[])
            .await
            .map_err(words)?;
        let written = session
            .client
            .query_one(&session.written, &[])
            .await
            .map_err(words)?;
        let waits: Vec<_> = waits.iter().map(wait).collect();
        count(&mut self.sampled.seen, &waits);
        let written: Option<i64> = written.get(0);
        let now = Clock.now();
        let more = self.minute.add(Sample {
            at: now,
            written: written.map(i64::cast_unsigned),
            waits,
        });
        self.sampled.server.wal_bytes += more;
        let session = self.session.insert(session);
        let due = |last: Option<Instant>, every| last.is_none_or(|at| now.duration_since(at) >= every);
        if due(self.sized, SIZES_EVERY) {
            self.sized = Some(now);
            match whole::read(&session.client).await {
                Ok(database) => self.sampled.server.database = Some(database),
                Err(error) => {
                    tracing::debug!(error = words(error), "figures of the database could not be read")
                }
            }
            // Sizes of before are better than none.
            match sizes(&session.client).await {
                Ok(tables) => self.sampled.server.tables = tables,
                Err(error) => tracing::debug!(error = words(error), "sizes of tables could not be read"),
            }
        }
        Ok(())
    }
}

async fn connect(login: &Entrance, tasks: &Tasks) -> Result<Session, String> {
    let client = match login.enter(tasks, "figures of the primary").await {
        Ok(client) => client,
        Err(EnterError::Server(error)) => return Err(words(error)),
        Err(EnterError::Tls(error)) => return Err(error.to_string()),
    };
    client.batch_execute(SETTINGS).await.map_err(words)?;
    Ok(Session {
        activity: client.prepare(ACTIVITY).await.map_err(words)?,
        written: client.prepare(WRITTEN).await.map_err(words)?,
        client,
    })
}

fn words(error: tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(told) => told.message().to_owned(),
        None => error.to_string(),
    }
}

fn wait(row: &Row) -> Wait {
    let sessions = u32::try_from(row.get::<_, i64>(2)).unwrap_or(0);
    ((row.get(0), row.get(1)), sessions)
}

fn count(seen: &mut BTreeMap<(String, String), u64>, waits: &[Wait]) {
    for (what, sessions) in waits {
        let what = if seen.len() < KINDS || seen.contains_key(what) {
            what.clone()
        } else {
            ("other".to_owned(), String::new())
        };
        *seen.entry(what).or_default() += u64::from(*sessions);
    }
}

async fn sizes(client: &Client) -> Result<Vec<TableSignal>, tokio_postgres::Error> {
    let rows = client.query(TABLE_SIZES, &[&TABLES]).await?;
    let number = |row: &Row, at: usize| row.get::<_, i64>(at).cast_unsigned();
    let mut tables: Vec<(u32, TableSignal)> = rows
        .iter()
        .map(|row| {
            let table = TableSignal {
                schema: row.get(1),
                name: row.get(2),
                bytes: number(row, 3),
                index_bytes: number(row, 4),
                live_rows: number(row, 5),
                dead_rows: number(row, 6),
                sequential_scans: number(row, 7),
                sequential_rows: number(row, 8),
                index_scans: number(row, 9),
                changes: number(row, 10),
                vacuumed_seconds: row.get::<_, Option<i64>>(11).map(i64::cast_unsigned),
                indexes: Vec::new(),
            };
            (row.get(0), table)
        })
        .collect();
    let ids: Vec<u32> = tables.iter().map(|(id, _)| *id).collect();
    for row in client.query(INDEX_SIZES, &[&ids]).await? {
        let of: u32 = row.get(0);
        let table = tables
            .iter_mut()
            .find(|(id, table)| *id == of && table.indexes.len() < INDEXES);
        if let Some((_, table)) = table {
            table.indexes.push(IndexSignal {
                name: row.get(1),
                bytes: number(&row, 2),
                scans: number(&row, 3),
                unique: row.get(4),
            });
        }
    }
    Ok(tables.into_iter().map(|(_, table)| table).collect())
}

/// Kind and event of a wait, and how many sessions were seen so.
type Wait = ((String, String), u32);

struct Sample {
    at: Instant,
    /// Position of the log's end; a replica has none.
    written: Option<u64>,
    waits: Vec<Wait>,
}

/// The last samples.
#[derive(Default)]
struct Minute(VecDeque<Sample>);

impl Minute {
    /// How much log was written since the sample before.
    fn add(&mut self, sample: Sample) -> u64 {
        let before = self.0.back().and_then(|last| last.written);
        let more = sample
            .written
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before));
        if self.0.len() >= WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(sample);
        more.unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    fn tell(&self, server: &mut ServerSignals) {
        let (first, last) = (self.0.front(), self.0.back());
        server.wal_bytes_per_second = first.zip(last).and_then(|(first, last)| {
            let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
            let written = last.written?.checked_sub(first.written?)?;
            (seconds > 0.0).then(|| written as f64 / seconds)
        });
        let mut sums: BTreeMap<&(String, String), u32> = BTreeMap::new();
        for (what, sessions) in self.0.iter().flat_map(|sample| &sample.waits) {
            *sums.entry(what).or_default() += sessions;
        }
        let all: u32 = sums.values().sum();
        server.active = (!self.0.is_empty()).then(|| f64::from(all) / self.0.len() as f64);
        let share = |((kind, event), count): (&(String, String), u32)| WaitEvent {
            kind: kind.clone(),
            event: event.clone(),
            share: f64::from(count) / f64::from(all.max(1)),
        };
        let mut waits: Vec<WaitEvent> = sums.into_iter().map(share).collect();
        waits.sort_by(|a, b| b.share.total_cmp(&a.share));
        server.waits = waits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, written: Option<u64>, waits: &[(&str, &str, u32)]) -> Sample {
        let wait =
            |(kind, event, count): &(&str, &str, u32)| (((*kind).to_owned(), (*event).to_owned()), *count);
        Sample {
            at,
            written,
            waits: waits.iter().map(wait).collect(),
        }
    }

    #[test]
    fn rates_and_shares_are_of_the_samples_that_are_left() {
        let begun = Clock.now();
        let mut minute = Minute::default();
        let mut written = 0;
        for second in 0..100_u64 {
            let at = begun + Duration::from_secs(second);
            let waits: &[_] = if second % 2 == 0 {
                &[("CPU", "", 1), ("Lock", "tuple", 3)]
            } else {
                &[]
            };
            written += minute.add(sample(at, Some(1_000_000 + second * 500), waits));
        }
        assert_eq!((minute.0.len(), written), (WINDOW, 99 * 500));
        let mut server = ServerSignals::default();
        minute.tell(&mut server);
        assert_eq!(server.wal_bytes_per_second, Some(500.0));
        assert_eq!(server.active, Some(2.0));
        let shares: Vec<_> = server
            .waits
            .iter()
            .map(|wait| (wait.kind.as_str(), wait.share))
            .collect();
        assert_eq!(shares, [("Lock", 0.75), ("CPU", 0.25)]);
    }

    #[test]
    fn a_position_that_went_back_is_no_rate() {
        let begun = Clock.now();
        let mut minute = Minute::default();
        minute.add(sample(begun, Some(5_000), &[]));
        assert_eq!(minute.add(sample(begun + EVERY, Some(100), &[])), 0);
        let mut server = ServerSignals::default();
        minute.tell(&mut server);
        assert_eq!((server.wal_bytes_per_second, server.active), (None, Some(0.0)));
    }

    #[test]
    fn kinds_of_waits_are_bounded() {
        let mut seen = BTreeMap::new();
        for kind in 0..KINDS + 5 {
            count(&mut seen, &[((format!("Kind{kind}"), String::new()), 2)]);
        }
        assert_eq!(seen.len(), KINDS + 1);
        assert_eq!(seen[&("other".to_owned(), String::new())], 10);
    }
}
