//! From the first byte to a logged-in client: encryption, startup packet, login, greeting.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;

use banyan_runtime::Clock;

use super::client::Client;
use super::{Shared, cancel, console, login};
use crate::backend::stream::Stream;
use crate::respond::{self, Refusal};
use crate::session::settings::Settings;
use crate::wire::startup::{First, LIMIT, Machine, Startup, StartupError, TLS_HANDSHAKE};
use crate::wire::{message, options};
use crate::worker::Worker;

/// ALPN of PostgreSQL's protocol.
const ALPN: &[u8] = b"postgresql";

/// `None`: there is no client to serve (it cancelled something, was refused, or went).
pub(super) async fn greet(stream: TcpStream, peer: SocketAddr, worker: &Rc<Worker>) -> Option<Client> {
    let (mut stream, startup) = match open(stream, worker).await? {
        Opened::Startup(stream, startup) => (stream, startup),
        Opened::Cancel(stream, key) => {
            cancel::forward(worker, key).await;
            drop(stream);
            return None;
        }
    };
    match enter(&mut stream, startup, worker).await {
        Ok(Way::Console { user, out }) => {
            // Boxed away with the greeting, because few clients are consoles.
            console::serve(stream, worker, user, out).await;
            None
        }
        Ok(Way::Database(entered)) => {
            let shared = Shared::new(
                worker.new_client(),
                rand::random(),
                &entered.account.user,
                Some(peer),
                Clock.now(),
            );
            let client = Client::new(stream, worker, &entered.account, shared, entered.settings);
            client.greet(entered.out).await
        }
        Err(refusal) => {
            refuse(&mut stream, &refusal, worker).await;
            None
        }
    }
}

async fn refuse(stream: &mut Stream, refusal: &Refusal, worker: &Rc<Worker>) {
    worker.metrics.logins_refused.increment();
    worker.refused(refusal);
    tracing::info!(code = refusal.code(), reason = %refusal, "client refused");
    let mut out = Vec::new();
    respond::error(&mut out, "FATAL", refusal);
    // The client may have gone: then nobody needs the answer.
    stream.drain(&mut out).await.ok();
}

enum Way {
    Database(Entered),
    Console {
        user: String,
        /// What comes before its greeting.
        out: Vec<u8>,
    },
}

struct Entered {
    account: Rc<crate::pool::account::Account>,
    settings: Rc<Settings>,
    /// What is sent before the parameters.
    out: Vec<u8>,
}

async fn enter(stream: &mut Stream, startup: Startup, worker: &Rc<Worker>) -> Result<Way, Refusal> {
    if worker.is_full() {
        return Err(Refusal::TooManyClients);
    }
    let settings = settings(&startup)?;
    let mut out = Vec::new();
    if startup.minor > 0 || !startup.extensions.is_empty() {
        message::negotiate_version(&mut out, &startup.extensions);
    }
    let snapshot = std::sync::Arc::clone(&worker.snapshot.borrow());
    let credentials = login::login(stream, &mut out, &startup.user, worker).await?;
    if startup.database == console::DATABASE {
        return Ok(Way::Console {
            user: startup.user,
            out,
        });
    }
    if startup.database != snapshot.database.name {
        return Err(Refusal::NoDatabase(startup.database));
    }
    let account = worker.account(&startup.user, &startup.database, credentials);
    worker.metrics.logins.increment();
    Ok(Way::Database(Entered {
        account,
        settings: worker.shop.intern_settings(settings),
        out,
    }))
}

/// What the client asks for at its start.
fn settings(startup: &Startup) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    let mut set = |name: &str, value: &str| {
        if name.eq_ignore_ascii_case("replication") {
            return match value.to_ascii_lowercase().as_str() {
                "false" | "off" | "no" | "0" => Ok(()),
                _ => Err(Refusal::Replication),
            };
        }
        if !options::may_be_set(name) {
            return Err(Refusal::Parameter(name.to_owned()));
        }
        settings.set(name, value);
        Ok(())
    };
    for (name, value) in &startup.parameters {
        if name == "options" {
            let found =
                options::settings(value).map_err(|word| Refusal::Parameter(format!("options: {word}")))?;
            for (name, value) in found {
                set(&name, &value)?;
            }
        } else {
            set(name, value)?;
        }
    }
    Ok(settings)
}

enum Opened {
    Startup(Stream, Startup),
    Cancel(Stream, crate::wire::startup::CancelKey),
}

/// Up to the startup packet. `None`: nothing to be said, or it has been said.
async fn open(stream: TcpStream, worker: &Rc<Worker>) -> Option<Opened> {
    let mut machine = Machine::default();
    let mut first = [0];
    let acceptor = worker.tls.borrow().clone();
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    let mut stream = if first[0] == TLS_HANDSHAKE {
        machine.encrypted();
        let stream = acceptor?.accept(stream).await.ok()?;
        // Without the protocol's name this could be a confused web browser (or worse).
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return None;
        }
        Stream::Tls(Box::new(stream))
    } else {
        Stream::Tcp(stream)
    };
    let acceptor = worker.tls.borrow().clone();
    loop {
        let taken = packet(&mut machine, &mut stream).await?;
        match taken {
            Ok(First::Startup(startup)) => return Some(Opened::Startup(stream, startup)),
            Ok(First::Cancel(key)) => return Some(Opened::Cancel(stream, key)),
            Ok(First::Gss) => stream.drain(&mut vec![b'N']).await.ok()?,
            Ok(First::Ssl) => match (&acceptor, stream) {
                (Some(acceptor), Stream::Tcp(plain)) => {
                    let mut plain = Stream::Tcp(plain);
                    plain.drain(&mut vec![b'S']).await.ok()?;
                    let Stream::Tcp(plain) = plain else { return None };
                    stream = Stream::Tls(Box::new(acceptor.accept(plain).await.ok()?));
                    machine.encrypted();
                }
                (_, mut other) => {
                    other.drain(&mut vec![b'N']).await.ok()?;
                    stream = other;
                }
            },
            Err(error) => {
                refuse(&mut stream, &error.into(), worker).await;
                return None;
            }
        }
    }
}

/// One packet; no byte behind it is read that could belong to something else.
async fn packet(machine: &mut Machine, stream: &mut Stream) -> Option<Result<First, StartupError>> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 1024];
    loop {
        match machine.take(&bytes) {
            Ok(Some(first)) => return Some(Ok(first)),
            Err(error) => return Some(Err(error)),
            Ok(None) => {}
        }
        let n = stream.read(&mut buffer).await.ok()?;
        if n == 0 || bytes.len() + n > LIMIT + buffer.len() {
            return None;
        }
        bytes.extend_from_slice(&buffer[..n]);
    }
}
