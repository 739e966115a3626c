//! A scratch PostgreSQL 15 per test: TCP on 127.0.0.1, a random password, deleted on drop.
//!
//! `initdb` takes a second or two, so its result is kept as a template in the temporary directory and copied (0.1 s).
//! PostgreSQL refuses root: when the tests run as root, it runs as the user `postgres`.
//! The server stays in the test's process group, so that a test runner that kills a stuck test takes it along.

mod replica;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Port;
use crate::wait;

const VERSION: &str = "15";
const SUPERUSER: &str = "postgres";
/// Speed over safety: the data is thrown away.
const SETTINGS: [&str; 7] = [
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=32MB",
    "max_connections=100",
];
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("PostgreSQL {VERSION} is not installed ({0} is missing): apt-get install postgresql-{VERSION}")]
    NotInstalled(PathBuf),
    #[error("failed to find the user `postgres`, which PostgreSQL runs as when the tests run as root")]
    NoUser,
    #[error("failed to {what}")]
    Io {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} failed: {output}")]
    Failed { program: String, output: String },
    #[error("PostgreSQL did not start: {reason}\n{log}")]
    NotReady { reason: String, log: String },
    #[error("failed to run SQL: {0}")]
    Sql(#[from] tokio_postgres::Error),
}

/// A running server; stopped and deleted on drop.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    port: Port,
    password: String,
    dir: TempDir,
}

impl Postgres {
    /// Blocks for about 0.3 s (2 s when there is no template yet).
    pub fn start() -> Result<Self, PostgresError> {
        Self::start_with(&[])
    }

    /// `settings` as in `postgres -c NAME=VALUE`.
    pub fn start_with(settings: &[&str]) -> Result<Self, PostgresError> {
        let account = Account::find()?;
        let template = template(&account)?;
        let dir = copy_of(&template, &account)?;
        let password = read(&template.join("password"))?;
        let port = Port::free();
        let server = launch(&account, dir.path(), &port, settings)?;
        let mut postgres = Self {
            server,
            port,
            password,
            dir,
        };
        postgres.wait_ready()?;
        Ok(postgres)
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Of the superuser, to the database `postgres`.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Of the superuser, to `database`.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password,
            self.port()
        )
    }

    /// Creates an empty database and returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, PostgresError> {
        let client = connect(&self.url()).await?;
        client
            .batch_execute(&format!("CREATE DATABASE \"{name}\""))
            .await?;
        Ok(self.url_of(name))
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The eighth line of postmaster.pid says `ready` once connections are accepted: what `pg_ctl` waits for, too.
    fn wait_ready(&mut self) -> Result<(), PostgresError> {
        let pid_file = self.dir.path().join("data/postmaster.pid");
        let server = &mut self.server;
        let waited = wait::blocking("PostgreSQL to accept connections", START_LIMIT, || {
            if let Ok(Some(status)) = server.try_wait() {
                return Ok(Err(format!("it exited: {status}")));
            }
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            let state = text.lines().nth(7).unwrap_or("no state").trim().to_owned();
            if state == "ready" { Ok(Ok(())) } else { Err(state) }
        });
        let reason = match waited {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(timed_out) => timed_out.to_string(),
        };
        Err(PostgresError::NotReady {
            reason,
            log: self.log(),
        })
    }
}

impl Drop for Postgres {
    /// SIGQUIT ends the server at once, its backends with it; SIGKILL would leave those to notice by themselves.
    fn drop(&mut self) {
        let gone = |server: &mut Child| {
            wait::blocking("PostgreSQL to end", STOP_LIMIT, || match server.try_wait() {
                Ok(Some(_)) | Err(_) => Ok(()),
                Ok(None) => Err("it runs"),
            })
        };
        // One that was killed is reaped: its pid may be another's.
        if !matches!(self.server.try_wait(), Ok(None)) {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.server.id().cast_signed()) {
            // Not reaped yet, so the pid is still ours; it may have ended already: then there is nothing to do.
            kill_process(pid, Signal::QUIT).ok();
        }
        if gone(&mut self.server).is_err() {
            self.server.kill().ok();
            self.server.wait().ok();
        }
    }
}

/// A client whose connection is driven in the background.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client, PostgresError> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    let (trigger, _shutdown) = banyan_runtime::shutdown::channel();
    banyan_runtime::Tasks::new(trigger).spawn(
        banyan_runtime::TaskKind::Connection,
        "test database connection",
        // Its error shows in the client's next query.
        async move { connection.await.is_ok() },
    );
    Ok(client)
}

/// Who the server runs as: ourselves, or `postgres` when we are root.
#[derive(Clone, Copy, Debug)]
struct Account {
    drop_to: Option<(u32, u32)>,
}

impl Account {
    fn find() -> Result<Self, PostgresError> {
        if !rustix::process::getuid().is_root() {
            return Ok(Self { drop_to: None });
        }
        let users = read(Path::new("/etc/passwd"))?;
        let ids = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == "postgres").then_some(())?;
            let mut numbers = fields.skip(1).map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        });
        Ok(Self {
            drop_to: Some(ids.ok_or(PostgresError::NoUser)?),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "testkit starts the processes of the test world"
    )]
    fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.drop_to {
            command.uid(uid).gid(gid);
        }
        command
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .current_dir("/");
        command
    }

    fn owns(self, path: &Path) -> Result<(), PostgresError> {
        match self.drop_to {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)).map_err(io_error("hand over", path)),
            None => Ok(()),
        }
    }
}

fn program(name: &str) -> Result<PathBuf, PostgresError> {
    let path = Path::new("/usr/lib/postgresql")
        .join(VERSION)
        .join("bin")
        .join(name);
    if path.exists() {
        Ok(path)
    } else {
        Err(PostgresError::NotInstalled(path))
    }
}

/// The directory with `data` and `password`, made by whoever comes first.
fn template(account: &Account) -> Result<PathBuf, PostgresError> {
    let uid = rustix::process::getuid().as_raw();
    let home = std::env::temp_dir().join(format!("banyan-test-postgres-{VERSION}-{uid}"));
    fs::create_dir_all(&home).map_err(io_error("create", &home))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).map_err(io_error("open", &home))?;
    let lock_path = home.join("lock");
    let lock = File::create(&lock_path).map_err(io_error("create", &lock_path))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
        .map_err(|errno| io_error("lock", &lock_path)(errno.into()))?;
    let template = home.join("template");
    if !template.join("complete").exists() {
        make_template(account, &template)?;
    }
    Ok(template)
}

fn make_template(account: &Account, template: &Path) -> Result<(), PostgresError> {
    if template.exists() {
        fs::remove_dir_all(template).map_err(io_error("remove", template))?;
    }
    fs::create_dir(template).map_err(io_error("create", template))?;
    account.owns(template)?;
    let password = template.join("password");
    write_secret(&password)?;
    account.owns(&password)?;
    let mut initdb = account.command(&program("initdb")?);
    initdb
        .arg("--pgdata")
        .arg(template.join("data"))
        .arg("--pwfile")
        .arg(&password);
    initdb.args([
        "--username",
        SUPERUSER,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
    ]);
    initdb.args(["--no-sync", "--wal-segsize=1"]);
    run(initdb)?;
    fs::write(template.join("complete"), "").map_err(io_error("finish", template))
}

fn write_secret(path: &Path) -> Result<(), PostgresError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let secret = format!("{:032x}", rand::random::<u128>());
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io_error("create", path))?;
    file.write_all(secret.as_bytes()).map_err(io_error("write", path))
}

/// An empty directory of the server's account.
fn scratch(account: &Account) -> Result<TempDir, PostgresError> {
    let temp = std::env::temp_dir();
    let dir = tempfile::Builder::new()
        .prefix("banyan-test-pg-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(&temp)
        .map_err(io_error("create a directory in", &temp))?;
    account.owns(dir.path())?;
    Ok(dir)
}

/// A directory with a copy of the template's data, reachable by the server's account.
fn copy_of(template: &Path, account: &Account) -> Result<TempDir, PostgresError> {
    let dir = scratch(account)?;
    let mut copy = account.command(Path::new("cp"));
    copy.arg("-a")
        .arg(template.join("data"))
        .arg(dir.path().join("data"));
    run(copy)?;
    Ok(dir)
}

fn launch(account: &Account, dir: &Path, port: &Port, settings: &[&str]) -> Result<Child, PostgresError> {
    let log_path = dir.join("log");
    let log = File::create(&log_path).map_err(io_error("create", &log_path))?;
    let log_too = log.try_clone().map_err(io_error("open", &log_path))?;
    let mut server = account.command(&program("postgres")?);
    server
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-p")
        .arg(port.number().to_string());
    for setting in SETTINGS.iter().chain(settings) {
        server.args(["-c", setting]);
    }
    server.stdout(log).stderr(log_too);
    server.spawn().map_err(|source| PostgresError::Io {
        what: "start postgres".to_owned(),
        source,
    })
}

fn run(mut command: Command) -> Result<(), PostgresError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().map_err(|source| PostgresError::Io {
        what: format!("run {program}"),
        source,
    })?;
    if status.success() {
        return Ok(());
    }
    let output = [stdout, stderr].concat();
    Err(PostgresError::Failed {
        program,
        output: String::from_utf8_lossy(&output).into_owned(),
    })
}

fn read(path: &Path) -> Result<String, PostgresError> {
    fs::read_to_string(path).map_err(io_error("read", path))
}

fn io_error(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> PostgresError {
    let what = format!("{verb} {}", path.display());
    |source| PostgresError::Io { what, source }
}
