//! Who may log in: verifiers from the server's catalog by a function of ours, or from the file with the user's own URL.
//!
//! A verifier is kept for a moment, so that many connects at once ask once. No password is ever asked of the server.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_topology::snapshot::pgproxy::{PgAuth, PgNode, PgproxySnapshot};

use super::{NoAnswer, Rights, Stored};
use crate::backend::connect::ends;
use crate::wire::scram::Verifier;

/// How long an answer of the server is taken for true.
const FRESH: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);

type Reply = oneshot::Sender<Result<Stored, NoAnswer>>;

enum Question {
    Verifier(String, Reply),
    Rights(String, oneshot::Sender<Rights>),
}

#[derive(Default)]
pub(super) struct Verifiers {
    /// The task that asks; begun when first needed, and anew when it ended.
    asker: Option<mpsc::UnboundedSender<Question>>,
    /// Why the last question had no answer.
    problem: watch::Sender<Option<String>>,
}

impl Verifiers {
    /// Another server, another file: what is known counts no more.
    pub(super) fn forget(&mut self) {
        self.asker = None;
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    pub(super) fn look_up(
        &mut self,
        user: String,
        reply: Reply,
        snapshot: &Arc<PgproxySnapshot>,
        tasks: &Tasks,
    ) {
        self.ask(Question::Verifier(user, reply), snapshot, tasks);
    }

    /// What `user`, who has proved who it is, may do on the console.
    pub(super) fn rights(
        &mut self,
        user: String,
        reply: oneshot::Sender<Rights>,
        snapshot: &Arc<PgproxySnapshot>,
        tasks: &Tasks,
    ) {
        self.ask(Question::Rights(user, reply), snapshot, tasks);
    }

    fn ask(&mut self, question: Question, snapshot: &Arc<PgproxySnapshot>, tasks: &Tasks) {
        let unsent = match &self.asker {
            Some(asker) => match asker.send(question) {
                Ok(()) => return,
                Err(unsent) => unsent.0,
            },
            None => question,
        };
        let (asker, questions) = mpsc::unbounded_channel();
        let snapshot = Arc::clone(snapshot);
        let answers = answer_all(snapshot, questions, self.problem.clone());
        tasks.spawn(TaskKind::Background, "verifiers", answers);
        // The receiver has just been made.
        let _cannot_fail = asker.send(unsent);
        self.asker = Some(asker);
    }
}

async fn answer_all(
    snapshot: Arc<PgproxySnapshot>,
    mut questions: mpsc::UnboundedReceiver<Question>,
    problem: watch::Sender<Option<String>>,
) {
    let mut known: HashMap<String, (Instant, Option<String>)> = HashMap::new();
    let mut server = Server::default();
    let mut own = Own::default();
    while let Some(question) = questions.recv().await {
        let (user, reply) = match question {
            Question::Verifier(user, reply) => (user, reply),
            Question::Rights(user, reply) => {
                let _gone = reply.send(server.rights(&snapshot, &user).await);
                continue;
            }
        };
        let answer = match &snapshot.auth {
            PgAuth::File { path } => own.stored(path, &user).map_err(NoAnswer::from),
            PgAuth::Function { role, password_file } => {
                let now = Clock.now();
                known.retain(|_, (at, _)| now.saturating_duration_since(*at) < FRESH);
                let stored = match known.get(&user) {
                    Some((_, stored)) => Ok(stored.clone()),
                    None => server.verifier(&snapshot, role, password_file, &user).await,
                };
                stored.and_then(|stored| {
                    known.entry(user.clone()).or_insert_with(|| (now, stored.clone()));
                    Ok(judge(stored, &user, password_file)?)
                })
            }
        };
        problem.send_replace(answer.as_ref().err().map(|no| no.why.clone()));
        let _gone = reply.send(answer);
    }
}

fn judge(stored: Option<String>, user: &str, password_file: &Path) -> Result<Stored, String> {
    match stored {
        Some(text) if text.starts_with("md5") => {
            tracing::warn!(
                user,
                "this role's password is stored as MD5: set it anew under scram-sha-256"
            );
            return Ok(Stored::Md5(text));
        }
        Some(text) => {
            if let Some(verifier) = Verifier::parse(&text) {
                return Ok(Stored::Scram(verifier));
            }
        }
        None => {}
    }
    Ok(Stored::Mock(Verifier::mock(
        user,
        secret(password_file)?.as_bytes(),
    )))
}

pub(super) fn secret(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// The one user of a URL. Making its verifier costs 4,096 rounds of a hash: once per content of the file, not per login.
#[derive(Default)]
struct Own {
    known: Option<(String, Verifier)>,
}

impl Own {
    fn stored(&mut self, path: &Path, user: &str) -> Result<Stored, String> {
        let url = secret(path)?;
        let config: tokio_postgres::Config = url
            .parse()
            .map_err(|_| format!("{} holds no PostgreSQL URL", path.display()))?;
        let password = config.get_password().unwrap_or_default();
        if config.get_user() != Some(user) {
            return Ok(Stored::Mock(Verifier::mock(user, password)));
        }
        let password = String::from_utf8_lossy(password).into_owned();
        let verifier = match &self.known {
            Some((known, verifier)) if *known == url => verifier.clone(),
            _ => Verifier::of_password(&password).ok_or("failed to make a verifier")?,
        };
        self.known = Some((url, verifier.clone()));
        Ok(Stored::Password(verifier, password))
    }
}

/// The connection of the control role.
#[derive(Default)]
struct Server {
    client: Option<tokio_postgres::Client>,
}

fn is_admin(snapshot: &PgproxySnapshot, user: &str) -> bool {
    snapshot.admins.iter().any(|admin| admin == user)
}

impl Server {
    /// None when the server cannot be asked. The control role may do everything, and so may the one user of a server of
    /// the user's own: there is nobody else.
    async fn rights(&mut self, snapshot: &PgproxySnapshot, user: &str) -> Rights {
        const ALL: Rights = Rights {
            reads: true,
            acts: true,
        };
        let (role, password_file) = match &snapshot.auth {
            PgAuth::File { .. } => return ALL,
            PgAuth::Function { role, .. } if role == user || is_admin(snapshot, user) => return ALL,
            PgAuth::Function { role, password_file } => (role, password_file),
        };
        let sql = "SELECT pg_catalog.pg_has_role($1, 'pg_monitor', 'MEMBER'), \
                   pg_catalog.pg_has_role($1, 'pg_signal_backend', 'MEMBER')";
        let asked = async {
            let client = self.connected(snapshot, role, password_file).await.ok()?;
            let row = client.query_one(sql, &[&user]).await.ok()?;
            self.client = Some(client);
            let (reads, acts): (bool, bool) = (row.try_get(0).ok()?, row.try_get(1).ok()?);
            Some(Rights {
                reads: reads || acts,
                acts,
            })
        };
        let found = tokio::time::timeout(LIMIT, asked).await;
        found.ok().flatten().unwrap_or_default()
    }

    async fn verifier(
        &mut self,
        snapshot: &PgproxySnapshot,
        role: &str,
        password_file: &Path,
        user: &str,
    ) -> Result<Option<String>, NoAnswer> {
        let passing = |why: &str| NoAnswer {
            why: why.to_owned(),
            passing: true,
        };
        let mut last = passing("nobody is primary");
        // The connection may have broken since it was used last.
        for _ in 0..2 {
            match tokio::time::timeout(LIMIT, self.ask(snapshot, role, password_file, user)).await {
                Ok(Ok(stored)) => return Ok(stored),
                Ok(Err(why)) => last = why,
                Err(_) => last = passing("the server does not answer"),
            }
            self.client = None;
        }
        Err(last)
    }

    async fn ask(
        &mut self,
        snapshot: &PgproxySnapshot,
        role: &str,
        password_file: &Path,
        user: &str,
    ) -> Result<Option<String>, NoAnswer> {
        let client = self.connected(snapshot, role, password_file).await?;
        // By its exact type: the app may make functions in this schema, and none of them is to be taken for it.
        let row = client
            .query_one("SELECT banyan.verifier($1::text)", &[&user])
            .await;
        let row = row.map_err(|error| NoAnswer {
            passing: error
                .as_db_error()
                .is_none_or(|cause| ends(cause.code().code().as_bytes())),
            why: words(&error),
        })?;
        self.client = Some(client);
        row.try_get(0).map_err(|error| words(&error).into())
    }
}

impl Server {
    /// The connection of before, if it lives.
    async fn connected(
        &mut self,
        snapshot: &PgproxySnapshot,
        role: &str,
        password_file: &Path,
    ) -> Result<tokio_postgres::Client, NoAnswer> {
        let passing = |why| NoAnswer { why, passing: true };
        if let Some(client) = self.client.take().filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let node = snapshot.database.primary();
        let node = node.ok_or_else(|| passing("nobody is primary".to_owned()))?;
        let password = secret(password_file)?;
        let connected = connect(node, role, &password, &snapshot.database.name).await;
        connected.map_err(passing)
    }
}

fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(cause) => cause.message().to_owned(),
        None => std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string),
    }
}

/// A connection of the proxy's own.
pub(crate) async fn connect(
    node: &PgNode,
    role: &str,
    password: &str,
    database: &str,
) -> Result<tokio_postgres::Client, String> {
    if node.tls.is_some() && node.socket.is_none() {
        return Err("the proxy's own connections do not speak TLS yet".to_owned());
    }
    let mut config = tokio_postgres::Config::new();
    config.user(role).password(password).dbname(database);
    config.application_name("banyan").connect_timeout(LIMIT);
    config.port(node.address.port());
    match &node.socket {
        Some(folder) => config.host_path(folder),
        None => config.host(node.address.ip().to_string()),
    };
    let connected = config.connect(tokio_postgres::NoTls).await;
    let (client, connection) = connected.map_err(|error| words(&error))?;
    let (trigger, _shutdown) = banyan_runtime::shutdown::channel();
    Tasks::new(trigger).spawn(TaskKind::Connection, "control connection", async move {
        // Its error shows in the client's next question.
        connection.await.is_ok()
    });
    Ok(client)
}
