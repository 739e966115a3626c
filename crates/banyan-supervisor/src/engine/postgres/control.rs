//! What a server is asked and told over a connection of the administrator: who it is, how far it is, promotion.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use banyan_runtime::Clock;
use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::Bound;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use super::provision::config;
use super::{PostgresError, SUPERUSER, Server};

/// For a single question; a server that takes longer is as good as gone.
const LIMIT: Duration = Duration::from_secs(5);
/// Looks without progress, a tenth of a second apart, after which a replay has come to its end.
const STALLED: u32 = 10;
const AGAIN: Duration = Duration::from_millis(10);

/// A connection that is driven while something is asked over it.
pub(super) struct Session {
    client: Client,
    connection: Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>,
}

impl Session {
    pub(super) async fn open(config: &Config) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        Ok(Self {
            client,
            connection: Box::pin(connection),
        })
    }

    pub(super) async fn rows(
        &mut self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        tokio::select! {
            rows = self.client.query(statement, parameters) => rows,
            Err(error) = &mut self.connection => Err(error),
        }
    }

    async fn ask(&mut self, statement: &str) -> Result<Vec<Row>, PostgresError> {
        self.rows(statement, &[]).await.map_err(query)
    }

    async fn facts(&mut self) -> Result<NodeFacts, PostgresError> {
        let rows = self
            .ask(
                "SELECT pg_is_in_recovery(), \
                 (pg_last_wal_receive_lsn() - '0/0')::int8, (pg_last_wal_replay_lsn() - '0/0')::int8, \
                 EXISTS (SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'), \
                 CASE WHEN pg_is_in_recovery() \
                 THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), \
                 (SELECT timeline_id FROM pg_control_checkpoint())) \
                 ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int4 END, \
                 (SELECT system_identifier FROM pg_control_system())",
            )
            .await?;
        let row = rows.first().ok_or(PostgresError::NoAnswer)?;
        let position = |index| row.get::<_, Option<i64>>(index).map(i64::cast_unsigned);
        Ok(NodeFacts {
            in_recovery: row.get(0),
            received: position(1),
            replayed: position(2),
            streaming: row.get(3),
            timeline: row.get::<_, i32>(4).cast_unsigned(),
            system_identifier: row.get::<_, i64>(5).cast_unsigned(),
        })
    }

    pub(super) async fn run(&mut self, statements: &str) -> Result<(), tokio_postgres::Error> {
        tokio::select! {
            done = self.client.batch_execute(statements) => done,
            Err(error) = &mut self.connection => Err(error),
        }
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    pub in_recovery: bool,
    /// A log position, as a number.
    pub received: Option<u64>,
    pub replayed: Option<u64>,
    /// Something sends it log right now.
    pub streaming: bool,
    /// The one it writes; a replica's: the one it receives, or, when it receives none, that of its last restart point.
    pub timeline: u32,
    pub system_identifier: u64,
}

/// `0/3000028`
fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |text| u64::from_str_radix(text, 16).ok();
    Some(part(high)? << 32 | part(low)?)
}

/// A replica as its primary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Following {
    pub name: String,
    pub streaming: bool,
    /// Writes wait for it, or may.
    pub synchronous: bool,
    /// How far it is behind.
    pub lag_bytes: Option<u64>,
    pub lag_ms: Option<u64>,
}

/// Asks one server again and again over one connection, so that a busy machine's logins are not taken for its silence.
pub struct Pulse {
    server: Server,
    session: Option<Session>,
}

impl Pulse {
    pub fn new(server: Server) -> Self {
        Self {
            server,
            session: None,
        }
    }

    /// Returns once it has answered or refused. One that is cancelled asks over a new connection next time.
    pub async fn beat(&mut self) {
        let session = match self.session.take() {
            Some(session) => Ok(session),
            None => self.server.session("postgres").await,
        };
        if let Ok(mut session) = session
            && session.rows("SELECT 1", &[]).await.is_ok()
        {
            self.session = Some(session);
        }
    }
}

impl Server {
    pub(super) async fn session(&self, database: &str) -> Result<Session, PostgresError> {
        let config = config(&self.address_of(SUPERUSER, database)?);
        Session::open(&config).await.map_err(query)
    }

    pub(super) async fn ask(&self, statement: &str) -> Result<Vec<Row>, PostgresError> {
        let asking = async {
            let mut session = self.session("postgres").await?;
            session.rows(statement, &[]).await.map_err(query)
        };
        let answer = tokio::time::timeout(LIMIT, asking).await;
        answer.unwrap_or(Err(PostgresError::Silent {
            node: self.node,
            after: LIMIT,
        }))
    }

    pub async fn facts(&self) -> Result<NodeFacts, PostgresError> {
        let asking = async { self.session("postgres").await?.facts().await };
        let answer = tokio::time::timeout(LIMIT, asking).await;
        answer.unwrap_or(Err(PostgresError::Silent {
            node: self.node,
            after: LIMIT,
        }))
    }

    /// Who follows it.
    pub async fn followers(&self) -> Result<Vec<Following>, PostgresError> {
        let rows = self
            .ask(
                "SELECT application_name, state = 'streaming', sync_state IN ('sync', 'quorum'), \
                 (pg_current_wal_lsn() - replay_lsn)::int8, \
                 (extract(epoch FROM replay_lag) * 1000)::int8 FROM pg_stat_replication",
            )
            .await?;
        let follower = |row: &Row| Following {
            name: row.get(0),
            streaming: row.get(1),
            synchronous: row.get(2),
            lag_bytes: row
                .get::<_, Option<i64>>(3)
                .map(|bytes| bytes.max(0).cast_unsigned()),
            lag_ms: row.get::<_, Option<i64>>(4).map(|ms| ms.max(0).cast_unsigned()),
        };
        Ok(rows.iter().map(follower).collect())
    }

    /// Where the last checkpoint begins of a server that does not run: nothing of it lies much further. Blocking.
    pub fn checkpoint(&self) -> Result<u64, PostgresError> {
        let text = self.control_data("Latest checkpoint location:")?;
        position(&text).ok_or(PostgresError::NoAnswer)
    }

    /// Which database cluster it is a copy of. Blocking.
    pub fn system_identifier(&self) -> Result<u64, PostgresError> {
        let text = self.control_data("Database system identifier:")?;
        text.parse().map_err(|_| PostgresError::NoAnswer)
    }

    /// A value of its control file.
    fn control_data(&self, name: &str) -> Result<String, PostgresError> {
        let text = self.control_file(&self.data)?;
        let found = text.lines().find_map(|line| line.strip_prefix(name));
        found
            .map(|value| value.trim().to_owned())
            .ok_or(PostgresError::NoAnswer)
    }

    /// What `pg_controldata` says of this data; nothing, where there is no control file. Blocking.
    pub(super) fn control_file(&self, data: &Path) -> Result<String, PostgresError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "prints what a file holds and ends; nothing to supervise"
        )]
        let output = std::process::Command::new(self.bin.join("pg_controldata"))
            .arg(data)
            .env_clear()
            .env("LC_ALL", "C")
            .output()
            .map_err(super::io_error("read the control file of", data))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Takes its files anew without a restart.
    pub async fn reload(&self) -> Result<(), PostgresError> {
        super::init::configure(self, &self.data)?;
        self.ask("SELECT pg_reload_conf()").await.map(drop)
    }

    /// What each replica has not got yet is kept for it: made where it is missing, dropped where nobody needs it.
    pub async fn keep_for_replicas(&self) -> Result<(), PostgresError> {
        let mut session = self.session("postgres").await?;
        self.keep_by(&mut session).await
    }

    async fn keep_by(&self, session: &mut Session) -> Result<(), PostgresError> {
        let wanted: Vec<String> = self
            .database
            .nodes
            .keys()
            .filter(|node| **node != self.node)
            .map(NodeId::to_string)
            .collect();
        let rows = session
            .ask("SELECT slot_name::text, active FROM pg_replication_slots WHERE slot_type = 'physical'")
            .await?;
        let known: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for name in wanted
            .iter()
            .filter(|name| !known.iter().any(|(known, _)| known == *name))
        {
            let statement = format!("SELECT pg_create_physical_replication_slot('{name}', true)");
            session.ask(&statement).await?;
        }
        // Only names that are ours to give.
        let ours = |name: &str| name.parse::<NodeId>().is_ok();
        let stale = known
            .iter()
            .filter(|(name, active)| ours(name) && !active && !wanted.contains(name));
        for (name, _) in stale {
            let statement = format!("SELECT pg_drop_replication_slot('{name}')");
            session.ask(&statement).await?;
        }
        Ok(())
    }

    /// Waits until as many log bytes as it has received are replayed and nobody sends more: then it has all it can have.
    pub async fn caught_up(&self, limit: Duration) -> Result<NodeFacts, PostgresError> {
        let until = Clock.now() + limit;
        let (mut still, mut stalls) = (None, 0);
        let mut session = self.session("postgres").await?;
        loop {
            let facts = session.facts().await?;
            let all = facts
                .received
                .is_some_and(|received| facts.replayed >= Some(received));
            // A torn record at the end of what was received is never replayed.
            let same = still == Some((facts.received, facts.replayed));
            stalls = if same && !facts.streaming { stalls + 1 } else { 0 };
            if !facts.streaming && (all || stalls >= STALLED) || Clock.now() > until {
                return Ok(facts);
            }
            still = Some((facts.received, facts.replayed));
            let wait = if facts.streaming { AGAIN } else { AGAIN * 10 };
            tokio::time::sleep(wait).await;
        }
    }

    /// The first transaction number that it has not seen: what a failover records before it promotes.
    pub async fn bound(&self) -> Result<Bound, PostgresError> {
        let mut session = self.session("postgres").await?;
        let facts = session.facts().await?;
        let statement = if facts.in_recovery {
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::int8"
        } else {
            // After a restart in place: what recovery found, before anybody has written.
            "SELECT split_part(next_xid, ':', 2)::int8 + (split_part(next_xid, ':', 1)::int8 << 32) \
             FROM pg_control_checkpoint()"
        };
        let rows = session.ask(statement).await?;
        let xid = rows.first().map(|row| row.get::<_, i64>(0).cast_unsigned());
        Ok(Bound {
            xid: xid.ok_or(PostgresError::NoAnswer)?,
            timeline: facts.timeline.max(super::place::newest_timeline(&self.data))
                + u32::from(facts.in_recovery),
        })
    }

    /// Makes it the primary; returns once it takes writes. One that is primary already stays so.
    pub async fn promote(&self) -> Result<(), PostgresError> {
        // One login for all of it: clients wait.
        let mut session = self.session("postgres").await?;
        if session.facts().await?.in_recovery {
            let rows = session.ask("SELECT pg_promote(true, 60)").await?;
            if !rows.first().is_some_and(|row| row.get(0)) {
                return Err(PostgresError::NotPromoted {
                    node: self.node,
                    reason: "it is still in recovery after 60s; its log says why".to_owned(),
                });
            }
        }
        self.keep_by(&mut session).await?;
        super::init::configure(self, &self.data)?;
        session.ask("SELECT pg_reload_conf()").await.map(drop)
    }

    /// After a promotion `pg_rewind` takes the files of before for those of now until a checkpoint has been written: it
    /// would find nothing to rewind, and the histories would part unseen.
    pub async fn write_checkpoint(&self) -> Result<(), PostgresError> {
        self.session("postgres").await?.ask("CHECKPOINT").await.map(drop)
    }

    /// Waits until a replica confirms writes.
    pub async fn synchronous(&self, limit: Duration) -> Result<(), PostgresError> {
        let until = Clock.now() + limit;
        while !self
            .followers()
            .await?
            .iter()
            .any(|follower| follower.synchronous)
        {
            if Clock.now() > until {
                return Err(PostgresError::NotSynchronous { after: limit });
            }
            tokio::time::sleep(AGAIN * 5).await;
        }
        Ok(())
    }
}

pub(super) fn query(source: tokio_postgres::Error) -> PostgresError {
    PostgresError::Query { source }
}
