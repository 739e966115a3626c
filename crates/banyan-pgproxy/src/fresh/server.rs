//! One server's positions, over one connection that is made again when it breaks.

use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls, Statement};

use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_topology::NodeId;

use super::lsn::Lsn;
use super::marks::Epoch;
use super::sampler::{Event, PrimaryAnswer, ReplicaAnswer};
use super::watcher::Server;

/// A server that takes longer is as good as gone.
const LIMIT: Duration = Duration::from_secs(1);

/// Of the log's end: only a primary answers it. The timeline is the one it writes, which the control file may not know yet.
const IDENTITY: &str = "
SELECT (SELECT system_identifier FROM pg_control_system()),
       (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
       CASE WHEN pg_is_in_recovery() THEN '00000000' ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END";
const SAMPLE: &str = "SELECT pg_current_wal_insert_lsn()::text, pg_current_wal_flush_lsn()::text";
/// A commit that changes nothing: it takes everything before it to disk. It waits for no standby.
const NUDGE: &str = "SELECT pg_logical_emit_message(true, 'banyan', '')";
const SETTINGS: &str = "SET synchronous_commit = local";
/// Replay of what is received on another timeline would not compare with the primary's positions.
const PROBE: &str = "
SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()::text,
       (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming')";

#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Primary {
        epoch: Epoch,
        asked: Instant,
    },
    Replica {
        asked: Instant,
    },
    /// No answer is expected.
    Nudge,
}

struct Connected {
    client: Client,
    sample: Statement,
    probe: Statement,
    system: u64,
    timeline: u32,
    incarnation: i64,
}

pub(super) async fn answer(
    server: Server,
    mut questions: mpsc::UnboundedReceiver<Question>,
    events: mpsc::UnboundedSender<Event>,
    tasks: Tasks,
) {
    let mut connected: Option<Connected> = None;
    while let Some(question) = questions.recv().await {
        if let Question::Nudge = question {
            if let Some(to) = &connected {
                // Without the right to, replicas get there later.
                let _late = tokio::time::timeout(LIMIT, to.client.batch_execute(NUDGE)).await;
            }
            continue;
        }
        if connected.is_none() {
            connected = connect(&server, &events, &tasks).await;
        }
        let answered = match &connected {
            Some(to) => tokio::time::timeout(LIMIT, to.ask(server.id, question))
                .await
                .ok()
                .flatten(),
            None => None,
        };
        if answered.is_none() {
            connected = None;
        }
        if events
            .send(answered.unwrap_or_else(|| no_answer(server.id, question)))
            .is_err()
        {
            return;
        }
    }
}

fn no_answer(id: NodeId, question: Question) -> Event {
    match question {
        Question::Primary { epoch, asked } => Event::Sampled {
            epoch,
            asked,
            answer: None,
        },
        Question::Replica { asked } => Event::Probed {
            id,
            asked,
            answer: None,
        },
        Question::Nudge => Event::Tick,
    }
}

async fn connect(server: &Server, events: &mpsc::UnboundedSender<Event>, tasks: &Tasks) -> Option<Connected> {
    let connecting = async {
        let (client, connection) = server.login.connect(NoTls).await.ok()?;
        let (id, events) = (server.id, events.clone());
        tasks.spawn(TaskKind::Background, "server connection", async move {
            let ended = connection.await;
            tracing::debug!(node = %id, error = ended.err().map(tracing::field::display), "a connection for positions has ended");
            // What it has told last may not be so any more: it may have restarted.
            let gone = Event::Probed {
                id,
                asked: Clock.now(),
                answer: None,
            };
            // The watcher ends with the process only.
            let _ended: Result<(), _> = events.send(gone).map_err(drop);
        });
        client.batch_execute(SETTINGS).await.ok()?;
        let identity = client.query_one(IDENTITY, &[]).await.ok()?;
        Some(Connected {
            sample: client.prepare(SAMPLE).await.ok()?,
            probe: client.prepare(PROBE).await.ok()?,
            system: identity.get::<_, i64>(0).cast_unsigned(),
            incarnation: identity.get(1),
            timeline: u32::from_str_radix(identity.get(2), 16).ok()?,
            client,
        })
    };
    tokio::time::timeout(LIMIT, connecting).await.ok().flatten()
}

impl Connected {
    /// None: the connection is of no use any more.
    async fn ask(&self, id: NodeId, question: Question) -> Option<Event> {
        match question {
            Question::Primary { epoch, asked } => {
                let row = self.client.query_one(&self.sample, &[]).await.ok()?;
                let answer = Some(PrimaryAnswer {
                    inserted: row.get::<_, &str>(0).parse().ok()?,
                    flushed: row.get::<_, &str>(1).parse().ok()?,
                    timeline: self.timeline,
                    system: self.system,
                    incarnation: self.incarnation,
                });
                Some(Event::Sampled { epoch, asked, answer })
            }
            Question::Nudge => Some(Event::Tick),
            Question::Replica { asked } => {
                let row = self.client.query_one(&self.probe, &[]).await.ok()?;
                let replayed = row.get::<_, Option<&str>>(1);
                let answer = Some(ReplicaAnswer {
                    in_recovery: row.get(0),
                    replayed: replayed.map_or(Some(Lsn(0)), |text| text.parse().ok())?,
                    streaming: row
                        .get::<_, Option<i32>>(2)
                        .and_then(|timeline| u32::try_from(timeline).ok()),
                    system: self.system,
                    incarnation: self.incarnation,
                });
                Some(Event::Probed { id, asked, answer })
            }
        }
    }
}
