//! The console: database `banyan`. Reads figures, holds and releases, ends clients; changes no configuration.
//!
//! Simple and extended protocol. Each statement is answered by itself; there are no transactions.

mod command;
pub(crate) mod show;

use std::rc::Rc;

use tokio::sync::oneshot;

use crate::backend::stream::Stream;
use crate::control::{Request, Rights};
use crate::respond::{self, Refusal};
use crate::wire::frame::{self, HEADER};
use crate::wire::message;
use crate::wire::startup::CancelKey;
use crate::worker::Worker;

pub(crate) use command::{Action, Command, Show};

/// The console's database.
pub(crate) const DATABASE: &str = "banyan";
/// A statement on the console is short.
const LIMIT: usize = 64 * 1024;

struct Console<'a> {
    worker: &'a Rc<Worker>,
    rights: Rights,
    out: Vec<u8>,
    /// The statement of the last Parse; one is enough for drivers.
    prepared: Option<Command>,
    /// After an error: up to the next Sync.
    skipping: bool,
}

/// Serves `user` to its end. `out`: what comes before the greeting.
pub(super) async fn serve(mut stream: Stream, worker: &Rc<Worker>, user: String, mut out: Vec<u8>) {
    let (reply, rights) = oneshot::channel();
    // A control task that is gone ends all clients.
    let _gone = worker.control.send(Request::Rights { user, reply });
    let rights = rights.await.unwrap_or_default();
    greeting(&mut out);
    let mut console = Console {
        worker,
        rights,
        out,
        prepared: None,
        skipping: false,
    };
    let mut inbox: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 4096];
    loop {
        if stream.drain(&mut console.out).await.is_err() {
            return;
        }
        let head = match frame::from_client(&inbox) {
            Ok(head) => head,
            Err(error) => {
                respond::error(&mut console.out, "FATAL", &error.into());
                stream.drain(&mut console.out).await.ok();
                return;
            }
        };
        if let Some(head) = head.filter(|head| inbox.len() >= head.total()) {
            if head.tag == b'X' {
                return;
            }
            let body = inbox[HEADER..head.total()].to_vec();
            inbox.drain(..head.total());
            console.message(head.tag, &body).await;
            continue;
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 && inbox.len() < LIMIT => inbox.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
}

fn greeting(out: &mut Vec<u8>) {
    let parameters = [
        ("server_version", "15.0 (Banyan)"),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("standard_conforming_strings", "on"),
        ("DateStyle", "ISO, MDY"),
        ("integer_datetimes", "on"),
    ];
    for (name, value) in parameters {
        message::parameter_status(out, name, value);
    }
    let nobody = CancelKey {
        process: 0,
        secret: 0,
    };
    message::backend_key(out, nobody);
    message::ready(out, b'I');
}

impl Console<'_> {
    async fn message(&mut self, tag: u8, body: &[u8]) {
        if self.skipping && tag != b'S' {
            return;
        }
        match tag {
            b'Q' => {
                let text = String::from_utf8_lossy(body.strip_suffix(&[0]).unwrap_or(body)).into_owned();
                self.simple(&text).await;
                message::ready(&mut self.out, b'I');
            }
            b'P' => match message::read_parse(body) {
                Some((_, text, _)) => self.parse(&String::from_utf8_lossy(text)),
                None => self.fail(&Refusal::Protocol("invalid message format")),
            },
            b'B' => message::write(&mut self.out, b'2', |_| {}),
            b'C' => message::write(&mut self.out, b'3', |_| {}),
            b'D' => self.describe(body),
            b'E' => {
                if let Some(command) = self.prepared.clone() {
                    self.execute(&command, false).await;
                }
            }
            b'S' => {
                self.skipping = false;
                message::ready(&mut self.out, b'I');
            }
            b'H' => {}
            _ => self.fail(&Refusal::Protocol("the console does not speak this message")),
        }
    }

    fn fail(&mut self, refusal: &Refusal) {
        respond::error(&mut self.out, "ERROR", refusal);
        self.skipping = true;
    }

    async fn simple(&mut self, text: &str) {
        let mut some = false;
        for statement in command::split(text) {
            some = true;
            match self.command(statement) {
                Ok(command) => self.execute(&command, true).await,
                Err(refusal) => {
                    self.worker.refused(&refusal);
                    respond::error(&mut self.out, "ERROR", &refusal);
                    return;
                }
            }
        }
        if !some {
            message::write(&mut self.out, b'I', |_| {});
        }
    }

    fn parse(&mut self, text: &str) {
        let statement = command::split(text).next().unwrap_or_default();
        match self.command(statement) {
            Ok(command) => {
                self.prepared = Some(command);
                message::write(&mut self.out, b'1', |_| {});
            }
            Err(refusal) => self.fail(&refusal),
        }
    }

    /// One that this role may give.
    fn command(&self, statement: &str) -> Result<Command, Refusal> {
        let command = Command::parse(statement).map_err(Refusal::Console)?;
        let (may, role) = match &command {
            Command::Show(Show::Help | Show::Version) => (true, ""),
            Command::Show(_) | Command::Explain(_) => (self.rights.reads, "pg_monitor"),
            Command::Do(_) => (self.rights.acts, "pg_signal_backend"),
        };
        may.then_some(command).ok_or(Refusal::Rights { role })
    }

    fn describe(&mut self, body: &[u8]) {
        if body.first() == Some(&b'S') {
            message::write(&mut self.out, b't', |body| body.extend([0, 0]));
        }
        match self.prepared.as_ref().and_then(Command::columns) {
            Some(columns) => message::row_description(&mut self.out, columns),
            None => message::write(&mut self.out, b'n', |_| {}),
        }
    }

    /// `describe`: the simple protocol describes its rows itself.
    async fn execute(&mut self, command: &Command, describe: bool) {
        if let Some(columns) = command.columns().filter(|_| describe) {
            message::row_description(&mut self.out, columns);
        }
        let tag = match command {
            Command::Show(what) => {
                let rows = self.rows(*what).await;
                for row in &rows {
                    message::data_row(&mut self.out, row);
                }
                "SHOW"
            }
            Command::Explain(sql) => {
                for row in show::explain(self.worker, sql) {
                    message::data_row(&mut self.out, &row);
                }
                "EXPLAIN"
            }
            Command::Do(action) => {
                self.act(*action).await;
                action.tag()
            }
        };
        message::command_complete(&mut self.out, tag);
    }

    /// Of all workers.
    async fn rows(&self, what: Show) -> Vec<Vec<String>> {
        let (reply, rows) = oneshot::channel();
        if self.worker.control.send(Request::Show(what, reply)).is_err() {
            return Vec::new();
        }
        rows.await.unwrap_or_default()
    }

    async fn act(&self, action: Action) {
        let (done, finished) = oneshot::channel();
        if self.worker.control.send(Request::Act(action, done)).is_ok() {
            finished.await.ok();
        }
    }
}
