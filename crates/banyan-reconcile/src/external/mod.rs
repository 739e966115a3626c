//! A PostgreSQL of the user's own: found, and asked before the proxy leads to it. Banyan changes nothing of it.
//!
//! Its URL with the password is kept in a file of mode 0600 that is named by a digest of it, so that a change can be
//! taken back; everything else is in the topology.

mod examine;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::{Database, DatabaseAddress, SslMode};
use banyan_runtime::private;
use banyan_topology::External;
use banyan_topology::snapshot::pgproxy::{Found, ServerTls};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::controller::Loaded;
use crate::programs::hex;

use examine::OLDEST;
pub(crate) use examine::examine;

/// Of one address; names often have several.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// To log in and answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// PostgreSQL documentation, 55.7 (SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const FILES: &str = "database-url-";

#[derive(Debug, thiserror::Error)]
pub(crate) enum ExternalError {
    #[error("{host} is no known name: {source}")]
    Name {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "{at} cannot be reached: {source}; is PostgreSQL there, and does it let this machine in (listen_addresses)?"
    )]
    Unreachable {
        at: String,
        #[source]
        source: io::Error,
    },
    #[error("{at} gives no answer within {after:?}")]
    Silent { at: String, after: Duration },
    #[error(
        "{at} does not speak TLS, and sslmode={mode} needs it: turn it on there (ssl = on), or write another sslmode"
    )]
    NoTls { at: String, mode: &'static str },
    #[error("TLS to {at} fails: {why}")]
    Tls { at: String, why: String },
    #[error("{at} refuses user {user}: {said}; check the password in the secrets file, and its pg_hba.conf")]
    Login { at: String, user: String, said: String },
    #[error("there is no database {name} on {at}; create it, or write another name at the end of the URL")]
    NoDatabase { at: String, name: String },
    #[error("{at} is PostgreSQL {version}; the proxy needs {OLDEST} or newer")]
    Old { at: String, version: i32 },
    #[error("{at} is a replica (it is in recovery); write the address of the primary")]
    Replica { at: String },
    #[error(
        "a pool of {pool} does not fit into {most} connections ({limit}); write pool = {fits} in [database.pgproxy]"
    )]
    Pool {
        pool: u32,
        most: i32,
        limit: &'static str,
        fits: i32,
    },
    #[error("{at} failed to answer: {said}")]
    Answer { at: String, said: String },
    #[error("it is another URL than when this was planned; look at `banyan plan` again")]
    Changed,
    #[error("failed to keep the login in {path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// As configured, if it is to be behind the proxy; `None`: there is none, or errors have said what is wrong with it.
pub(crate) fn of(loaded: &Loaded) -> Option<External> {
    let address = address(loaded)?;
    let (tls, options) = address.trust().ok()?;
    let url = plain(&address).url();
    Some(External {
        login: hex(&Sha256::digest(url.as_bytes())[..4]),
        host: address.host,
        port: address.port,
        name: address.name,
        user: address.user,
        tls,
        options,
    })
}

fn address(loaded: &Loaded) -> Option<DatabaseAddress> {
    match &loaded.config.database {
        Some(Database::External(external)) => external.address(&loaded.secrets).ok(),
        _ => None,
    }
}

/// What the proxy logs in with.
fn plain(address: &DatabaseAddress) -> DatabaseAddress {
    DatabaseAddress {
        options: None,
        ..address.clone()
    }
}

pub(crate) fn login_file(secrets: &Path, external: &External) -> PathBuf {
    secrets.join(format!("{FILES}{}", external.login))
}

/// The file is there afterwards. One of before is as good: its name is its content's.
pub(crate) fn keep_login(secrets: &Path, external: &External, loaded: &Loaded) -> Result<(), ExternalError> {
    let path = login_file(secrets, external);
    if path.exists() {
        return Ok(());
    }
    let known = of(loaded).filter(|known| known.login == external.login);
    let (Some(_), Some(address)) = (known, address(loaded)) else {
        return Err(ExternalError::Changed);
    };
    let written = private::replace(&path, plain(&address).url().as_bytes());
    written.map_err(|source| ExternalError::File { path, source })
}

/// Removes the logins of others.
pub(crate) fn forget_others(secrets: &Path, kept: &[&External]) {
    let kept: Vec<PathBuf> = kept
        .iter()
        .map(|external| login_file(secrets, external))
        .collect();
    for entry in fs::read_dir(secrets).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(FILES);
        if ours && !kept.contains(&entry.path()) {
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Where those connect who go past the proxy.
pub(crate) fn direct(secrets: &Path, external: &External) -> Result<DatabaseAddress, ExternalError> {
    let path = login_file(secrets, external);
    let read = fs::read_to_string(&path);
    let url = read.map_err(|source| ExternalError::File { path, source })?;
    let address = DatabaseAddress::parse(url.trim()).map_err(|_| ExternalError::Changed)?;
    let roots = external.tls.sslrootcert.as_ref();
    let options = [
        Some(format!("sslmode={}", mode(external.tls.sslmode))),
        roots.map(|path| format!("sslrootcert={}", path.display())),
        external.options.clone(),
    ];
    let options: Vec<String> = options.into_iter().flatten().collect();
    Ok(DatabaseAddress {
        options: Some(options.join("&")),
        ..address
    })
}

fn mode(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}

fn at(external: &External) -> String {
    format!("{}:{}", external.host, external.port)
}

/// Which address of its name answers, and how it is spoken to.
pub(crate) async fn find(external: &External) -> Result<Found, ExternalError> {
    let (mut stream, address) = connect(external).await?;
    let tls = |authorities: bool, any_name| ServerTls {
        name: external.host.clone(),
        authorities: external.tls.sslrootcert.clone().filter(|_| authorities),
        any_name,
    };
    let tls = match external.tls.sslmode {
        SslMode::Disable => None,
        SslMode::Prefer => speaks_tls(&mut stream, external)
            .await?
            .then(|| tls(false, false)),
        SslMode::Require => Some(tls(false, false)),
        SslMode::VerifyCa => Some(tls(true, true)),
        SslMode::VerifyFull => Some(tls(true, false)),
    };
    Ok(Found { address, tls })
}

async fn connect(external: &External) -> Result<(TcpStream, std::net::SocketAddr), ExternalError> {
    let found = tokio::net::lookup_host((external.host.as_str(), external.port)).await;
    let addresses = found.map_err(|source| ExternalError::Name {
        host: external.host.clone(),
        source,
    })?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => last = error,
            Err(_over) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(ExternalError::Unreachable {
        at: at(external),
        source: last,
    })
}

async fn speaks_tls(stream: &mut TcpStream, external: &External) -> Result<bool, ExternalError> {
    let asked = async {
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    match tokio::time::timeout(ANSWER_LIMIT, asked).await {
        Ok(Ok(answer)) => Ok(answer == b'S'),
        Ok(Err(source)) => Err(ExternalError::Unreachable {
            at: at(external),
            source,
        }),
        Err(_over) => Err(ExternalError::Silent {
            at: at(external),
            after: ANSWER_LIMIT,
        }),
    }
}
