//! A client that goes on with the next process of the proxy: its connection and what its session is made of.
//!
//! Only between units, when nothing of it lives in a server's session. It notices nothing: what it sends meanwhile waits in
//! its socket, and its key for cancels stays. What nextval left for lastval is not moved.

use std::net::SocketAddr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use banyan_runtime::parcels::Parcel;
use banyan_runtime::{Clock, TaskKind};

use super::client::{self, Blocked, Client, Refused};
use super::{Shared, accept};
use crate::backend::connect::Credentials;
use crate::backend::stream::Stream;
use crate::session::marks::Marks;
use crate::session::prepared::{self, Statement};
use crate::session::settings::{Parameters, Settings};
use crate::wire::scram;
use crate::worker::Worker;

/// Of [`Luggage`] as it is written: another form is another number.
pub(crate) const FORM: u8 = 1;

/// What is known of a client. Holds what it proved itself by: it goes through a socket of mode 0600, and nowhere else.
#[derive(Serialize, Deserialize)]
struct Luggage {
    number: u32,
    secret: u32,
    peer: Option<SocketAddr>,
    user: String,
    database: String,
    proof: Proof,
    startup: Pairs,
    settings: Pairs,
    parameters: Pairs,
    prepared: Vec<Known>,
    unnamed: Option<Known>,
}

type Pairs = Vec<(String, String)>;

#[derive(Serialize, Deserialize)]
enum Proof {
    Scram { client: scram::Key, server: scram::Key },
    Md5(String),
    Password(String),
}

/// A prepared statement under the client's name.
#[derive(Serialize, Deserialize)]
struct Known {
    name: Vec<u8>,
    text: Vec<u8>,
    types: Vec<u8>,
    meaning: Pairs,
}

impl Known {
    fn of(name: &[u8], statement: &Statement) -> Self {
        Self {
            name: name.to_vec(),
            text: statement.text.to_vec(),
            types: statement.types.to_vec(),
            meaning: pairs(statement.meaning().iter()),
        }
    }

    fn statement(&self, worker: &Worker) -> Rc<Statement> {
        let meaning = worker.shop.intern_settings(settings(&self.meaning));
        worker.statement(&self.text, &self.types, &meaning)
    }
}

fn pairs<'a>(of: impl Iterator<Item = (&'a str, &'a str)>) -> Pairs {
    of.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn settings(pairs: &Pairs) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in pairs {
        settings.set(name, value);
    }
    settings
}

impl Client {
    /// Nothing of it is under way, here or in a server's session.
    pub(super) fn may_move(&self) -> bool {
        let session = &self.session;
        self.lease.is_none()
            && self.inbox.is_empty()
            && self.outbox.is_empty()
            && self.passing == 0
            && self.blocked == Blocked::No
            && self.refused == Refused::No
            && !self.transaction_lost
            && session.pins.is_none()
            && session.marks.without(Marks::FREE).is_none()
            && session.touched.is_empty()
            && session.doubted.is_none()
            && matches!(self.stream, Stream::Tcp(_))
    }

    /// To whoever takes the place of this process.
    pub(super) fn move_on(self) {
        let message = serde_json::to_vec(&self.luggage());
        let Stream::Tcp(stream) = self.stream else { return };
        let socket = stream.into_std();
        let (Ok(message), Ok(socket), Some(next)) = (message, socket, self.worker.next.borrow().clone())
        else {
            tracing::error!("a client could not be passed on");
            return;
        };
        let socket = socket.into();
        // Who took them has ended: the connection ends with the parcel.
        let _gone = next.send(Parcel { message, socket });
    }

    fn luggage(&self) -> Luggage {
        let session = &self.session;
        let proof = match &*self.account.credentials.borrow() {
            Credentials::Scram {
                client_key,
                server_key,
            } => Proof::Scram {
                client: *client_key,
                server: *server_key,
            },
            Credentials::Md5(stored) => Proof::Md5(stored.clone()),
            Credentials::Password(password) => Proof::Password(password.clone()),
        };
        Luggage {
            number: self.shared.number,
            secret: self.shared.secret,
            peer: self.shared.peer,
            user: self.account.user.to_string(),
            database: self.account.database.to_string(),
            proof,
            startup: pairs(session.startup.iter()),
            settings: pairs(session.settings.iter()),
            parameters: pairs(session.parameters.iter()),
            prepared: session
                .prepared
                .iter()
                .map(|(name, statement)| Known::of(name, statement))
                .collect(),
            unnamed: session
                .unnamed
                .as_ref()
                .map(|statement| Known::of(b"", statement)),
        }
    }
}

/// A client of the process before goes on here.
pub(super) fn settle_in(worker: &Rc<Worker>, parcel: Parcel) {
    let stream = std::net::TcpStream::from(parcel.socket);
    let stream = stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpStream::from_std(stream));
    let luggage = serde_json::from_slice::<Luggage>(&parcel.message);
    let (stream, luggage) = match (stream, luggage) {
        (Ok(stream), Ok(luggage)) => (stream, luggage),
        (stream, luggage) => {
            let why = stream.err().map(|error| error.to_string());
            let why = why.or(luggage.err().map(|error| error.to_string()));
            tracing::error!(why, "a client of the process before could not be taken");
            return;
        }
    };
    let client = unpack(worker, Stream::Tcp(stream), &luggage);
    let worker = Rc::clone(worker);
    let tasks = worker.tasks.clone();
    tasks.spawn_local(TaskKind::Connection, "client", async move {
        let _counted = accept::Counted::new(&worker.metrics.clients);
        client::run(client).await;
    });
}

fn unpack(worker: &Rc<Worker>, stream: Stream, luggage: &Luggage) -> Client {
    let credentials = match &luggage.proof {
        Proof::Scram { client, server } => Credentials::Scram {
            client_key: *client,
            server_key: *server,
        },
        Proof::Md5(stored) => Credentials::Md5(stored.clone()),
        Proof::Password(password) => Credentials::Password(password.clone()),
    };
    let account = worker.account(&luggage.user, &luggage.database, credentials);
    let taken = worker.clients.borrow().contains_key(&luggage.number);
    let number = match taken {
        // Its key for cancels means somebody else here.
        true => worker.new_client(),
        false => luggage.number,
    };
    let shared = Shared::new(number, luggage.secret, &account.user, luggage.peer, Clock.now());
    worker.clients.borrow_mut().insert(number, Rc::clone(&shared));
    let shop = &worker.shop;
    let startup = shop.intern_settings(settings(&luggage.startup));
    let mut client = Client::new(stream, worker, &account, shared, startup);
    let session = &mut client.session;
    session.settings = shop.intern_settings(settings(&luggage.settings));
    session.meaning = shop.intern_settings(prepared::meaning(&session.settings));
    let mut parameters = Rc::new(Parameters::default());
    for (name, value) in &luggage.parameters {
        parameters.set(name, value);
    }
    session.parameters = shop.intern_parameters(Rc::unwrap_or_clone(parameters));
    for known in &luggage.prepared {
        session
            .prepared
            .insert(known.name.as_slice().into(), known.statement(worker));
    }
    session.unnamed = luggage.unnamed.as_ref().map(|known| known.statement(worker));
    client
}
