//! The managed Redis servers: one that keeps (`sessions`) and one that forgets (`cache`).
//!
//! TCP on 127.0.0.1 only, a password for everybody; the app's user is no administrator. Passwords are made once and are in
//! files that only we can read; the server has their digests. What is kept is never deleted but by [`destroy`].

pub mod client;
mod info;
mod settings;
mod trouble;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::{Purpose, RedisAddress, RedisKind};
use banyan_runtime::Clock;
use banyan_topology::Redis;
use tokio::net::TcpStream;

pub use info::Info;
pub use trouble::RedisError;

use self::client::{Client, ClientError};
use super::files::{FileError, Owner, create_private_dir, write_private};
use super::place;
use super::serving::{self, Engine};
use super::{identity, secret};
use crate::account;
use crate::child::diagnose;
use crate::child::{ChildId, ChildSpec, Handle, LiveRule, NotReady, Probe, RunAs, StopSignal, procfs};

/// Where Debian's package puts it.
const PROGRAM: &str = "/usr/bin/redis-server";
/// The Unix user that Debian's package makes.
const UNIX_USER: &str = "redis";
/// It begins at once; what it has kept it reads afterwards.
const START_GRACE: Duration = Duration::from_secs(30);
/// What was kept is read at some 100 MB/s.
const LOADING_LIMIT: Duration = Duration::from_secs(600);
/// It writes what is not yet on the disk.
const STOP_GRACE: Duration = Duration::from_secs(30);
const COMMAND_LIMIT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);
/// Whose password that is: the end of its file's name.
const OF_EDGES: &str = "-edge";

/// One server and all that is needed to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub redis: Redis,
    /// From [`place`].
    pub data: PathBuf,
    /// `.banyan/secrets`
    pub secrets: PathBuf,
    pub log: PathBuf,
    /// From [`run_as`].
    pub run_as: RunAs,
}

/// The child's name: `redis-sessions`, `redis-cache`. Also that of its data folder.
pub fn child_id(purpose: Purpose) -> ChildId {
    ChildId(format!("redis-{purpose}"))
}

/// What a child is there for, if it is a Redis.
pub fn purpose_of(child: &ChildId) -> Option<Purpose> {
    Purpose::ALL
        .into_iter()
        .find(|purpose| child_id(*purpose) == *child)
}

pub fn is_installed() -> bool {
    Path::new(PROGRAM).exists()
}

/// Its own user, if we are root: it has no business with what is ours.
pub fn run_as() -> RunAs {
    if identity::controller_is_root() && account::find(UNIX_USER).is_some() {
        return RunAs::User(UNIX_USER.to_owned());
    }
    RunAs::Same
}

/// The data folder, which need not exist yet; its parent does.
pub fn place(state: &Path, app: &str, run_as: &RunAs, purpose: Purpose) -> Result<PathBuf, RedisError> {
    Ok(place::place(state, app, run_as, &child_id(purpose).0)?)
}

/// Deletes what was kept, for good; refuses while a server runs there. The folders that there were.
pub fn destroy(state: &Path) -> Result<Vec<PathBuf>, RedisError> {
    let all = Purpose::ALL.map(|purpose| place::found(state, &child_id(purpose).0));
    for (_, data) in &all {
        refuse_another(data)?;
    }
    let mut gone = Vec::new();
    for (inside, data) in all {
        if place::delete(&inside, &data, &[])? {
            gone.push(data);
        }
    }
    Ok(gone)
}

/// Where the app finds the server of `purpose`. Holds the password, of `secrets`: the folder [`Server::secrets`].
pub fn address(secrets: &Path, purpose: Purpose, port: u16) -> Result<RedisAddress, RedisError> {
    let password = secret::password(secrets, &child_id(purpose).to_string())?;
    Ok(address_of(port, settings::APP, password))
}

fn address_of(port: u16, user: &str, password: String) -> RedisAddress {
    RedisAddress {
        kind: RedisKind::Single,
        tls: false,
        hosts: vec![(Ipv4Addr::LOCALHOST.to_string(), port)],
        user: user.to_owned(),
        password,
        database: 0,
        options: None,
    }
}

impl Server {
    pub fn id(&self) -> ChildId {
        child_id(self.redis.purpose)
    }

    /// The server as a child, for [`Handle::start`] and [`Handle::adopt`].
    pub fn spec(&self) -> ChildSpec {
        let probe = || Probe::Redis {
            address: self.socket(),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
        };
        let env = [("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8")];
        ChildSpec {
            id: self.id(),
            argv: vec![PROGRAM.to_owned(), self.config().display().to_string()],
            env: env
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            cwd: self.data.clone(),
            user: self.run_as.clone(),
            log: self.log.clone(),
            ready: probe(),
            // It answers while it reads its data and while a script runs; one that says nothing for so long hangs.
            live: Some((
                probe(),
                LiveRule {
                    failures: 5,
                    interval: Duration::from_secs(2),
                },
            )),
            start_grace: START_GRACE,
            stop: StopSignal::Terminate,
            stop_grace: STOP_GRACE,
            port: Some(self.redis.port),
        }
    }

    /// From whatever there is (nothing, kept data, our own running server) to a server that answers and has its settings.
    /// On failure nothing that it started is left running.
    pub async fn start(&self, handle: &Handle) -> Result<(), RedisError> {
        serving::start(self, handle).await
    }

    /// Gives a running server its settings, and its files, so that it has them after a restart too. All or nothing.
    pub async fn configure(&self) -> Result<(), RedisError> {
        let settings = settings::live(&self.redis);
        let words = settings.iter().flat_map(|(name, value)| [*name, value.as_str()]);
        let words: Vec<&str> = ["CONFIG", "SET"].into_iter().chain(words).collect();
        let set = limited(async { self.client().await?.ask(&words).await }).await;
        set.map_err(|error| match error {
            RedisError::Command(ClientError::Refused(line)) => RedisError::Setting {
                line,
                purpose: self.redis.purpose,
            },
            other => other,
        })?;
        self.write_files()
    }

    /// What it says about itself.
    pub async fn info(&self) -> Result<Info, RedisError> {
        let text = limited(async { self.client().await?.text(&["INFO"]).await }).await?;
        Ok(Info::parse(&text))
    }

    /// Where the app finds it. Holds the password.
    pub fn address(&self) -> Result<RedisAddress, RedisError> {
        address(&self.secrets, self.redis.purpose, self.redis.port)
    }

    /// Where edges find it that count rate limits together, as a user who may do nothing else. Holds the password.
    pub fn address_for_edges(&self) -> Result<RedisAddress, RedisError> {
        Ok(address_of(
            self.redis.port,
            settings::EDGE,
            self.password(OF_EDGES)?,
        ))
    }

    /// Has a running server know the user of edges, as one does that is started by now. Nobody's connection ends by it.
    pub async fn let_edges_in(&self) -> Result<(), RedisError> {
        if !self.redis.keeps() {
            return Ok(());
        }
        let rules = settings::edge_rules(&self.password(OF_EDGES)?);
        let words = ["ACL", "SETUSER", settings::EDGE, "reset"];
        let words = words.into_iter().chain(rules.iter().map(String::as_str));
        let words: Vec<&str> = words.collect();
        limited(async { self.client().await?.ask(&words).await })
            .await
            .map(drop)
    }

    /// As the administrator.
    async fn client(&self) -> Result<Client<TcpStream>, ClientError> {
        let password = self.password("-admin").map_err(|error| match error {
            RedisError::File(FileError { source, .. }) => ClientError::Io(source),
            other => ClientError::Io(io::Error::other(other)),
        })?;
        let mut client = Client::new(TcpStream::connect(self.socket()).await?);
        client.log_in(settings::ADMIN, &password).await?;
        Ok(client)
    }

    fn password(&self, whose: &str) -> Result<String, RedisError> {
        let name = format!("{}{whose}", self.id());
        Ok(secret::password(&self.secrets, &name)?)
    }

    fn socket(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.redis.port))
    }

    fn config(&self) -> PathBuf {
        self.data.join("redis.conf")
    }

    fn write_files(&self) -> Result<(), RedisError> {
        let owner = Owner::of(&self.run_as);
        let edge = self.redis.keeps().then(|| self.password(OF_EDGES)).transpose()?;
        let (app, admin) = (self.password("")?, self.password("-admin")?);
        let users = settings::users_file(self.redis.purpose, &app, &admin, edge.as_deref());
        let config = settings::config_file(&self.redis, &self.data);
        for (path, text) in [
            (self.data.join(settings::USERS_FILE), users),
            (self.config(), config),
        ] {
            write_private(&path, text.as_bytes(), &owner).map_err(FileError::new("write", &path))?;
        }
        Ok(())
    }

    /// What an earlier time, or another hand, has left of a cache: older than the database by now.
    fn forget(&self) -> Result<(), RedisError> {
        if self.redis.keeps() {
            return Ok(());
        }
        let dump = self.data.join("dump.rdb");
        let log = self.data.join("appendonlydir");
        let removed = [(fs::remove_file(&dump), &dump), (fs::remove_dir_all(&log), &log)];
        for (removed, path) in removed {
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::new("remove", path)(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Engine for Server {
    type Error = RedisError;

    fn spec(&self) -> ChildSpec {
        self.spec()
    }

    async fn prepare(&self, _handle: &Handle) -> Result<(), RedisError> {
        if !is_installed() {
            return Err(RedisError::NotInstalled);
        }
        refuse_another(&self.data)?;
        if serving::is_taken(self.socket()) {
            return Err(RedisError::PortInUse {
                port: self.redis.port,
                by: diagnose::owner_of(self.redis.port),
                purpose: self.redis.purpose,
            });
        }
        if !self.data.is_dir() {
            create_private_dir(&self.data, &Owner::of(&self.run_as))
                .map_err(FileError::new("create", &self.data))?;
        }
        self.forget()?;
        self.write_files()
    }

    async fn provision(&self) -> Result<(), RedisError> {
        let end = Clock.now() + LOADING_LIMIT;
        loop {
            let asked = limited(async { self.client().await?.text(&["PING"]).await }).await;
            let last = match asked {
                Ok(_pong) => break,
                Err(RedisError::Command(ClientError::Refused(words))) if !words.starts_with("LOADING") => {
                    return Err(ClientError::Refused(words).into());
                }
                Err(error) => error.to_string(),
            };
            if Clock.now() >= end {
                return Err(RedisError::Silent {
                    after: LOADING_LIMIT,
                    last,
                });
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.configure().await
    }

    fn not_ready(&self, error: NotReady) -> RedisError {
        let known = match &error {
            NotReady::Exited { log_tail, .. } | NotReady::Timeout { log_tail, .. } => {
                trouble::known(log_tail, self)
            }
            _ => None,
        };
        known.unwrap_or(RedisError::NotReady(error))
    }
}

async fn limited<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(COMMAND_LIMIT, work).await {
        Ok(done) => Ok(done?),
        Err(_elapsed) => Err(RedisError::Silent {
            after: COMMAND_LIMIT,
            last: "no reply".to_owned(),
        }),
    }
}

/// Two servers on one append-only file would destroy it.
fn refuse_another(data: &Path) -> Result<(), RedisError> {
    let Ok(canonical) = fs::canonicalize(data) else {
        return Ok(());
    };
    let runs_there = |pid: u32| {
        let link = |name| fs::read_link(format!("/proc/{pid}/{name}")).ok();
        let redis = |exe: PathBuf| {
            exe.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("redis-"))
        };
        link("cwd").is_some_and(|cwd| cwd == canonical) && link("exe").is_some_and(redis)
    };
    match procfs::table().iter().find(|entry| runs_there(entry.pid)) {
        Some(entry) => Err(RedisError::AnotherServer {
            pid: entry.pid,
            data: data.to_owned(),
        }),
        None => Ok(()),
    }
}
