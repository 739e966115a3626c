//! Names of prepared statements: what the client calls a statement becomes what the server knows it by, provided there.

use std::rc::Rc;

use super::client::{Client, Ending};
use super::unit::{MALFORMED, Taken};
use crate::backend::Unnamed;
use crate::backend::expected::Kind;
use crate::backend::known::Has;
use crate::backend::replies::Sink;
use crate::session::prepared::{PREFIX, Statement};
use crate::session::scan::Scan;
use crate::wire::frame::Head;
use crate::wire::message;

/// What a name of the client's stands for.
pub(super) enum Named {
    Nothing,
    Is(Rc<Statement>),
    /// Known when replies have come.
    Later,
}

/// What the server is to be told.
pub(super) enum Resolved {
    Unnamed(Option<Rc<Statement>>),
    /// By its name.
    Known(Rc<Statement>),
    /// A name that only the server may know.
    Strange(Box<[u8]>),
}

impl Resolved {
    pub(super) fn name(&self) -> &[u8] {
        match self {
            Self::Unnamed(_) => b"",
            Self::Known(statement) => statement.name.as_bytes(),
            Self::Strange(name) => name,
        }
    }

    pub(super) fn statement(&self) -> Option<&Rc<Statement>> {
        match self {
            Self::Unnamed(statement) => statement.as_ref(),
            Self::Known(statement) => Some(statement),
            Self::Strange(_) => None,
        }
    }
}

/// The server knows whether SQL has prepared it; names of ours are not for clients.
fn strange(name: &[u8]) -> Vec<u8> {
    let mut raw = name.to_vec();
    if raw.starts_with(PREFIX) {
        raw.push(b'?');
    }
    raw
}

impl Client {
    /// Names of prepared statements in the text become ours; they are provided. `None`: the text stays.
    pub(super) fn rewrite(&mut self, text: &[u8], scan: &Scan) -> Result<Option<Vec<u8>>, Ending> {
        let mut out: Option<Vec<u8>> = None;
        let mut at = 0;
        for reference in &scan.references {
            let Some(statement) = self.session.prepared.get(&reference.name).cloned() else {
                continue;
            };
            let statement = self.fitting(statement)?;
            let lease = self.lease()?;
            if lease.known.has(&statement.name) == Has::No {
                lease.parse(&statement.name.clone(), &statement, None, true);
                // Behind a failed Parse everything up to a Sync would be ignored.
                message::sync(&mut lease.outbox);
                lease.expect(Kind::Sync, true);
            }
            let out = out.get_or_insert_default();
            out.extend_from_slice(&text[at..reference.start]);
            out.extend_from_slice(statement.name.as_bytes());
            at = reference.end;
        }
        if let Some(out) = &mut out {
            out.extend_from_slice(&text[at..]);
        }
        Ok(out)
    }

    /// What `name` stands for at this point of the stream.
    pub(super) fn named(&self, name: &[u8]) -> Named {
        let known = || match self.session.prepared.get(name) {
            Some(statement) => Named::Is(Rc::clone(statement)),
            None => Named::Nothing,
        };
        let Some(lease) = &self.lease else { return known() };
        let mut earlier_unit = false;
        for expected in lease.expected.iter().rev() {
            let found = match &expected.kind {
                Kind::Parse {
                    statement,
                    name: Some(theirs),
                }
                | Kind::Parsed {
                    statement,
                    name: theirs,
                } if **theirs == *name => Named::Is(Rc::clone(statement)),
                Kind::Closed { name: theirs } if **theirs == *name => Named::Nothing,
                // Its text says what it does; when it has run we know more.
                Kind::Query(Some(_)) | Kind::Execute(Some(_)) => return Named::Later,
                kind => {
                    earlier_unit |= kind.ends_unit();
                    continue;
                }
            };
            return if earlier_unit { Named::Later } else { found };
        }
        known()
    }

    pub(super) fn parse(&mut self, head: Head, body: &[u8]) -> Result<Taken, Ending> {
        let (name, text, types) = message::read_parse(body).ok_or(MALFORMED)?;
        let shop_statement = |client: &Self, text: &[u8]| match client.session.is_apart() && !name.is_empty()
        {
            true => client
                .worker
                .statement_apart(text, types, &client.session.meaning),
            false => client.worker.statement(text, types, &client.session.meaning),
        };
        let mut statement = shop_statement(self, text);
        let left = self.left_by(&statement.text);
        if !self.ready_for(b'P', Some(&statement.scan), left.as_ref())? {
            return Ok(self.not_ready());
        }
        let quiet = self.lease()?.expected.is_empty();
        if !statement.scan.is_plain() {
            if !quiet {
                self.block_until_quiet();
                return Ok(Taken::Blocked);
            }
            let scan = statement.scan.clone();
            if let Some(text) = self.rewrite(text, &scan)? {
                statement = shop_statement(self, &text);
            }
        }
        if name.is_empty() {
            self.lease()?.parse("", &statement, Some(Box::default()), false);
            return Ok(Taken::Bytes(head.total()));
        }
        match self.named(name) {
            Named::Later => {
                self.block_until_quiet();
                return Ok(Taken::Blocked);
            }
            Named::Is(existing) => {
                let lease = self.lease()?;
                if !lease.provide(&existing) {
                    self.block_until_quiet();
                    return Ok(Taken::Blocked);
                }
                // The server says that the name is taken.
                message::parse(&mut lease.outbox, &existing.name, &existing.text, &existing.types);
                lease.expect(Kind::Twice, false);
            }
            Named::Nothing => {
                if !self.define(name, &statement)? {
                    self.block_until_quiet();
                    return Ok(Taken::Blocked);
                }
            }
        }
        Ok(Taken::Bytes(head.total()))
    }

    /// What the server is to parse now, where names may stand for something else than elsewhere, is for now, and not for others.
    fn fitting(&mut self, statement: Rc<Statement>) -> Result<Rc<Statement>, Ending> {
        let shared = self.session.is_apart() && !statement.is_apart();
        if !shared || self.lease()?.known.has(&statement.name) != Has::No {
            return Ok(statement);
        }
        let meaning = &self.session.meaning;
        Ok(self
            .worker
            .statement_apart(&statement.text, &statement.types, meaning))
    }

    /// The client's name for a statement: parsed on this server, or known there already.
    fn define(&mut self, name: &[u8], statement: &Rc<Statement>) -> Result<bool, Ending> {
        let lease = self.lease()?;
        if lease.known.has(&statement.name) == Has::No {
            lease.parse(&statement.name.clone(), statement, Some(name.into()), false);
            self.flight.defined.push(name.into());
            return Ok(true);
        }
        if !lease.provide(statement) {
            return Ok(false);
        }
        let parsed = Kind::Parsed {
            statement: Rc::clone(statement),
            name: name.into(),
        };
        lease.expect(parsed, false);
        self.flight.defined.push(name.into());
        self.answer_ours();
        Ok(true)
    }

    /// What the client has prepared stays on the server for others; what SQL has prepared goes. `None`: wait for replies.
    pub(super) fn close_named(&mut self, name: &[u8]) -> Option<()> {
        match self.named(name) {
            Named::Later => {
                self.block_until_quiet();
                return None;
            }
            Named::Is(_) => {
                let name = name.into();
                self.lease.as_mut()?.expect(Kind::Closed { name }, false);
                self.answer_ours();
            }
            Named::Nothing => {
                let lease = self.lease.as_mut()?;
                message::write(&mut lease.outbox, b'C', |out| {
                    out.push(b'S');
                    message::put_text(out, &strange(name));
                });
                lease.expect(Kind::Close { surplus: None }, false);
            }
        }
        Some(())
    }

    /// Replies of ours whose turn has come.
    pub(super) fn answer_ours(&mut self) {
        if let Some(lease) = &mut self.lease {
            let mut sink = Sink::new(
                &self.worker.shop,
                &mut self.session,
                &mut self.outbox,
                self.shared.number,
            );
            lease.answer_ours(&mut sink);
        }
    }

    /// What the server knows the statement by, provided there; `named`: what `name` stands for. `None`: wait for replies.
    pub(super) fn resolve(&mut self, name: &[u8], named: Named) -> Result<Option<Resolved>, Ending> {
        if name.is_empty() {
            return self
                .resolve_unnamed()
                .map(|statement| Some(Resolved::Unnamed(statement)));
        }
        match named {
            Named::Later => Ok(None),
            Named::Nothing => Ok(Some(Resolved::Strange(strange(name).into()))),
            Named::Is(statement) => {
                let statement = self.fitting(statement)?;
                let provided = self.lease()?.provide(&statement);
                Ok(provided.then_some(Resolved::Known(statement)))
            }
        }
    }

    /// Makes the server's unnamed statement the client's.
    fn resolve_unnamed(&mut self) -> Result<Option<Rc<Statement>>, Ending> {
        let number = self.shared.number;
        let wanted = self.session.unnamed.clone();
        let lease = self.lease()?;
        let pending = lease
            .expected
            .iter()
            .rev()
            .find_map(|expected| match &expected.kind {
                Kind::Parse {
                    statement,
                    name: Some(name),
                } if name.is_empty() => Some(Rc::clone(statement)),
                _ => None,
            });
        if pending.is_some() {
            return Ok(pending);
        }
        match (&wanted, &lease.unnamed) {
            (Some(wanted), Unnamed::Of(client, there)) if *client == number && Rc::ptr_eq(wanted, there) => {}
            (Some(wanted), _) => lease.parse("", wanted, Some(Box::default()), true),
            (None, Unnamed::Nothing) => {}
            (None, _) => lease.close_unnamed(),
        }
        Ok(wanted)
    }
}
