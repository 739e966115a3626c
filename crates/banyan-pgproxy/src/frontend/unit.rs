//! The client's messages, one by one: what each means for the session, what the server gets, which reply is owed.

use std::rc::Rc;

use super::client::{Blocked, Client, Ending, Refused};
use super::names::Named;
use crate::backend::expected::{After, Kind};
use crate::backend::{Copying, Unnamed};
use crate::pool::Lease;
use crate::respond::{self, Refusal};
use crate::session::marks::Marks;
use crate::session::prepared::Statement;
use crate::session::scan::Scan;
use crate::wire::frame::{self, HEADER, Head};
use crate::wire::message;

/// What became of a message.
pub(super) enum Taken {
    /// So many bytes are dealt with.
    Bytes(usize),
    /// It has not come whole.
    More,
    /// It has to wait; nothing of it is dealt with.
    Blocked,
}

pub(super) const MALFORMED: Refusal = Refusal::Protocol("invalid message format");

impl Client {
    /// Deals with whole messages (and with parts of those that are passed on); returns how many bytes that were.
    pub(super) fn digest(&mut self, bytes: &[u8]) -> Result<usize, Ending> {
        let mut at = 0;
        while at < bytes.len() && self.blocked == Blocked::No {
            if self.passing > 0 {
                let now = self.passing.min(bytes.len() - at);
                if let Some(lease) = self.lease.as_mut().filter(|_| !self.dropping) {
                    lease.outbox.extend_from_slice(&bytes[at..at + now]);
                    self.unit_sent(&bytes[at..at + now]);
                }
                self.passing -= now;
                at += now;
                continue;
            }
            let rest = &bytes[at..];
            let Some(head) = frame::from_client(rest).map_err(Refusal::Frame)? else {
                break;
            };
            if head.tag != b'X' && self.is_asked_what_it_is() {
                self.blocked = Blocked::Settled;
                break;
            }
            self.unit_begins();
            match self.message(head, rest)? {
                Taken::Bytes(used) => {
                    if self.lease.is_some() {
                        self.unit_sent(&rest[..used]);
                        self.unit_ends(head);
                    }
                    at += used;
                }
                Taken::More | Taken::Blocked => break,
            }
        }
        Ok(at)
    }

    fn message(&mut self, head: Head, rest: &[u8]) -> Result<Taken, Ending> {
        if head.tag == b'X' {
            return Err(Ending::Left);
        }
        if self.refused != Refused::No {
            return Ok(self.skip_refused(head));
        }
        if self.transaction_lost {
            return Ok(match rest.get(..head.total()) {
                Some(message) => {
                    self.tell_of_transaction(head.tag, message);
                    Taken::Bytes(0)
                }
                None => Taken::More,
            });
        }
        if self.lease.as_ref().is_some_and(|lease| lease.skipping) && head.tag != b'S' {
            return Ok(self.drop_message(head));
        }
        if self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.copying == Copying::In)
        {
            return self.copy_data(head, rest);
        }
        match head.tag {
            b'd' | b'c' | b'f' => Ok(self.early_copy_data(head, rest)),
            b'B' => self.bind(head, rest),
            b'F' => self.function(head, rest),
            b'p' => Err(Refusal::Protocol("unexpected password response").into()),
            _ => {
                let Some(body) = rest.get(HEADER..head.total()) else {
                    return Ok(Taken::More);
                };
                self.whole(head, &rest[..head.total()], body)
            }
        }
    }

    fn whole(&mut self, head: Head, message: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        match head.tag {
            b'Q' => self.query(message, body),
            b'P' => self.parse(head, body),
            b'D' => self.describe(message, body),
            b'C' => self.close(head, message, body),
            b'E' => self.execute(message, body),
            b'S' => Ok(self.sync(message)),
            _ => {
                // Flush, without a backend for nothing.
                if let Some(lease) = &mut self.lease {
                    lease.outbox.extend_from_slice(message);
                    if let Some(guard) = &mut lease.guard {
                        guard.flushed = true;
                    }
                }
                Ok(Taken::Bytes(message.len()))
            }
        }
    }

    pub(super) fn lease(&mut self) -> Result<&mut Lease, Ending> {
        self.lease.as_mut().ok_or(Ending::Refused(Refusal::Desync))
    }

    fn drop_message(&mut self, head: Head) -> Taken {
        self.passing = head.total();
        self.dropping = true;
        Taken::Bytes(0)
    }

    fn pass_message(&mut self, head: Head) -> Taken {
        self.passing = head.total();
        self.dropping = false;
        Taken::Bytes(0)
    }

    fn skip_refused(&mut self, head: Head) -> Taken {
        if head.tag == b'S' || self.refused == Refused::Query {
            self.refused = Refused::No;
            message::ready(&mut self.outbox, b'I');
        }
        self.drop_message(head)
    }

    /// COPY runs: data, its end, and what the server ignores meanwhile.
    fn copy_data(&mut self, head: Head, rest: &[u8]) -> Result<Taken, Ending> {
        match head.tag {
            b'd' => Ok(self.pass_message(head)),
            b'S' | b'H' => Ok(self.drop_message(head)),
            b'c' | b'f' => {
                if rest.len() < head.total() {
                    return Ok(Taken::More);
                }
                let lease = self.lease()?;
                lease.copying = Copying::No;
                lease.outbox.extend_from_slice(&rest[..head.total()]);
                Ok(Taken::Bytes(head.total()))
            }
            _ => Err(Refusal::Protocol("unexpected message during COPY from stdin").into()),
        }
    }

    /// COPY data before the server has asked for it; it ignores what it does not want.
    fn early_copy_data(&mut self, head: Head, rest: &[u8]) -> Taken {
        let owed = self.lease.as_mut().filter(|lease| !lease.expected.is_empty());
        let Some(lease) = owed else {
            return self.drop_message(head);
        };
        if head.tag == b'd' {
            return self.pass_message(head);
        }
        if rest.len() < head.total() {
            return Taken::More;
        }
        lease.outbox.extend_from_slice(&rest[..head.total()]);
        lease.expect(Kind::CopyEnd, false);
        Taken::Bytes(head.total())
    }

    pub(super) fn not_ready(&self) -> Taken {
        match self.refused {
            Refused::No => Taken::Blocked,
            // Looked at again, and dropped.
            Refused::Query | Refused::Unit => Taken::Bytes(0),
        }
    }

    /// The unit whose first message is next gets an error; the client goes on behind it.
    pub(super) fn refuse_unit(&mut self, tag: u8, refusal: &Refusal) {
        self.worker.refused(refusal);
        respond::error(&mut self.outbox, "ERROR", refusal);
        self.refused = match tag {
            b'Q' | b'F' => Refused::Query,
            _ => Refused::Unit,
        };
    }

    /// Everything that was sent is to be answered first.
    pub(super) fn block_until_quiet(&mut self) {
        if let Some(lease) = &mut self.lease
            && lease.is_open()
        {
            message::flush(&mut lease.outbox);
        }
        self.blocked = Blocked::Quiet;
    }

    pub(super) fn note(&mut self, scan: &Scan) {
        self.session.note(scan);
        if scan.marks.has(Marks::SEQUENCE_WRITE)
            && let Some(lease) = &mut self.lease
        {
            lease.sequences = true;
        }
    }

    /// What a text means; nothing is known of one that cannot be taken apart.
    fn scan(&self, text: &[u8]) -> Scan {
        if self.session.can_lex(text) {
            return Scan::of(text);
        }
        Scan {
            marks: Marks::UNKNOWN,
            ..Scan::default()
        }
    }

    fn query(&mut self, whole: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        let text = body.strip_suffix(&[0]).ok_or(MALFORMED)?;
        let scan = self.scan(text);
        let left = self.left_by(text);
        if !self.ready_for(b'Q', Some(&scan), left.as_ref())? {
            return Ok(self.not_ready());
        }
        let careful = !scan.is_plain() || scan.marks.has(Marks::SEQUENCE_READ);
        if careful && !self.lease()?.expected.is_empty() {
            self.block_until_quiet();
            return Ok(Taken::Blocked);
        }
        if scan.marks.has(Marks::SEQUENCE_READ) && self.strange_sequences() {
            return Ok(Taken::Blocked);
        }
        if self.asks_number(text) {
            return Ok(Taken::Blocked);
        }
        self.note(&scan);
        if let Some(left) = &left {
            self.session.note_left(left, text);
        }
        let guarded = self.track(text);
        let mut after = None;
        let rewritten = self.rewrite(text, &scan)?;
        if guarded {
            self.guard_begins(false);
        }
        let lease = self.lease()?;
        match &rewritten {
            Some(text) => message::write(&mut lease.outbox, b'Q', |out| message::put_text(out, text)),
            None => lease.outbox.extend_from_slice(whole),
        }
        if !scan.effects.is_empty() {
            let effects = scan.effects;
            after = Some(Box::new(After { effects }));
        }
        lease.unnamed = Unnamed::Nothing;
        let run = self.measure_text(text);
        self.lease()?.expect_run(Kind::Query(after), run);
        self.session.unnamed = None;
        self.guard_ends();
        Ok(Taken::Bytes(whole.len()))
    }

    /// Within a transaction: what others left in this backend's sequences is forgotten, so that the server itself says
    /// that there is no current value. `true`: that has to be answered first.
    pub(super) fn strange_sequences(&mut self) -> bool {
        self.account.reads_sequences.set(true);
        let Some(lease) = &mut self.lease else {
            return false;
        };
        let ours = self.session.sequence == Some((lease.id, lease.tenure));
        let written = self.session.marks.has(Marks::SEQUENCE_WRITE);
        if ours || written || !lease.sequences {
            return false;
        }
        lease.forget_sequences();
        self.blocked = Blocked::Quiet;
        true
    }

    fn bind(&mut self, head: Head, rest: &[u8]) -> Result<Taken, Ending> {
        let body = &rest[HEADER.min(rest.len())..rest.len().min(head.total())];
        let Some((portal, name, used)) = message::read_bind(body) else {
            return if rest.len() >= head.total() {
                Err(MALFORMED.into())
            } else {
                Ok(Taken::More)
            };
        };
        let named = self.named(name);
        let scan = match &named {
            Named::Is(statement) => Some(&statement.scan),
            _ => None,
        };
        let left = match &named {
            Named::Is(statement) => self.left_by(&statement.text),
            _ => None,
        };
        if !self.ready_for(b'B', scan, left.as_ref())? {
            return Ok(self.not_ready());
        }
        if let Named::Is(statement) = &named
            && self.asks_number(&statement.text)
        {
            return Ok(Taken::Blocked);
        }
        // A backend that has just been taken owes nothing that would change what the name stands for.
        let Some(resolved) = self.resolve(name, named)? else {
            self.block_until_quiet();
            return Ok(Taken::Blocked);
        };
        self.measure_bound(resolved.statement());
        self.bound.retain(|(bound, _)| **bound != *portal);
        match resolved.statement() {
            Some(statement) => self.bind_known(portal, statement),
            None => {
                self.note_anything();
                self.track_unknown();
            }
        }
        let ours = resolved.name();
        let lease = self.lease()?;
        let length = head.body - used + portal.len() + 1 + ours.len() + 1 + 4;
        lease.outbox.push(b'B');
        lease
            .outbox
            .extend(u32::try_from(length).map_err(|_| MALFORMED)?.to_be_bytes());
        message::put_text(&mut lease.outbox, portal);
        message::put_text(&mut lease.outbox, ours);
        lease.expect(Kind::Bind, false);
        self.passing = head.body - used;
        self.dropping = false;
        Ok(Taken::Bytes(HEADER + used))
    }

    fn bind_known(&mut self, portal: &[u8], statement: &Rc<Statement>) {
        if self.track(&statement.text) {
            self.guard_begins(true);
        }
        if self.session.can_lex(&statement.text) {
            self.note(&statement.scan);
            if let Some(left) = self.left_by(&statement.text) {
                self.session.note_left(&left, &statement.text);
            }
        } else {
            self.session.marks = self.session.marks.with(Marks::UNKNOWN);
        }
        if !statement.scan.effects.is_empty() {
            self.bound.push((portal.into(), Rc::clone(statement)));
        }
    }

    fn describe(&mut self, whole: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        let (kind, name) = message::read_target(body).ok_or(MALFORMED)?;
        if !self.ready_for(b'E', None, None)? {
            return Ok(self.not_ready());
        }
        if kind == b'P' {
            let lease = self.lease()?;
            lease.outbox.extend_from_slice(whole);
        } else {
            let named = self.named(name);
            let Some(resolved) = self.resolve(name, named)? else {
                self.block_until_quiet();
                return Ok(Taken::Blocked);
            };
            message::write(&mut self.lease()?.outbox, b'D', |out| {
                out.push(b'S');
                message::put_text(out, resolved.name());
            });
        }
        self.lease()?.expect(Kind::Describe, false);
        Ok(Taken::Bytes(whole.len()))
    }

    fn close(&mut self, head: Head, whole: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        let (kind, name) = message::read_target(body).ok_or(MALFORMED)?;
        let Some(lease) = &mut self.lease else {
            // Nothing runs: it is done at once, and no server need know.
            if kind == b'S' && name.is_empty() {
                self.session.unnamed = None;
            } else if kind == b'S' {
                self.session.prepared.remove(name);
            }
            message::write(&mut self.outbox, b'3', |_| {});
            return Ok(Taken::Bytes(head.total()));
        };
        if kind == b'S' && !name.is_empty() {
            return Ok(self
                .close_named(name)
                .map_or(Taken::Blocked, |()| Taken::Bytes(head.total())));
        }
        if kind == b'S' {
            self.session.unnamed = None;
            lease.unnamed = Unnamed::Nothing;
        }
        lease.outbox.extend_from_slice(whole);
        lease.expect(Kind::Close { surplus: None }, false);
        Ok(Taken::Bytes(head.total()))
    }

    fn execute(&mut self, whole: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        let (portal, _) = frame::text(body).ok_or(MALFORMED)?;
        if !self.ready_for(b'E', None, None)? {
            return Ok(self.not_ready());
        }
        let bound = self.bound.iter().position(|(name, _)| **name == *portal);
        let after = bound.map(|at| {
            let (_, statement) = self.bound.swap_remove(at);
            Box::new(After {
                effects: statement.scan.effects.clone(),
            })
        });
        if self.tracking.executes(&self.worker.fresh) {
            self.flight.runs_unknown();
        }
        let run = self.measure_execute();
        let lease = self.lease()?;
        lease.outbox.extend_from_slice(whole);
        lease.expect_run(Kind::Execute(after), run);
        Ok(Taken::Bytes(whole.len()))
    }

    fn sync(&mut self, whole: &[u8]) -> Taken {
        match &mut self.lease {
            Some(lease) => {
                lease.skipping = false;
                lease.outbox.extend_from_slice(whole);
                lease.expect(Kind::Sync, false);
                self.guard_ends();
            }
            None => message::ready(&mut self.outbox, b'I'),
        }
        Taken::Bytes(whole.len())
    }

    fn function(&mut self, head: Head, rest: &[u8]) -> Result<Taken, Ending> {
        // It ends its unit: our COMMIT is put behind it.
        let ends_ours = self.lease.as_ref().is_some_and(|lease| lease.is_guarded());
        if ends_ours && rest.len() < head.total() {
            return Ok(Taken::More);
        }
        if !self.ready_for(b'F', None, None)? {
            return Ok(self.not_ready());
        }
        let mut call = Scan::default();
        // By its number: it may be any.
        call.doubt(Marks::HIDDEN);
        self.note(&call);
        self.note_anything();
        self.track_unknown();
        let lease = self.lease()?;
        lease.expect(Kind::Function, false);
        if !ends_ours {
            return Ok(self.pass_message(head));
        }
        lease.outbox.extend_from_slice(&rest[..head.total()]);
        self.guard_ends();
        Ok(Taken::Bytes(head.total()))
    }
}
