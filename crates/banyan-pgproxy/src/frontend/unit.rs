//! The client's messages, one by one: what each means for the session, what the server gets, which reply is owed.

use std::rc::Rc;

use super::Activity;
use super::client::{Blocked, Client, Ending, Refused};
use crate::backend::expected::{After, Kind};
use crate::backend::known::Has;
use crate::backend::replies::Sink;
use crate::backend::{Copying, Unnamed};
use crate::pool::Lease;
use crate::respond::{self, Refusal};
use crate::session::prepared::{PREFIX, Statement};
use crate::session::scan::{Effect, Marks, Scan, Touched};
use crate::wire::frame::{self, HEADER, Head};
use crate::wire::message;

/// What became of a message.
enum Taken {
    /// So many bytes are dealt with.
    Bytes(usize),
    /// It has not come whole.
    More,
    /// It has to wait; nothing of it is dealt with.
    Blocked,
}

/// What a name of the client's stands for.
enum Named {
    Nothing,
    Is(Rc<Statement>),
    /// Known when replies have come.
    Later,
}

/// The server's name for a statement, and the statement if it is known.
type Resolved = (Box<[u8]>, Option<Rc<Statement>>);

/// Backends that are tried before a client is told that its session cannot be restored.
const UNFIT: u8 = 3;

const MALFORMED: Refusal = Refusal::Protocol("invalid message format");

impl Client {
    /// Deals with whole messages (and with parts of those that are passed on); returns how many bytes that were.
    pub(super) fn digest(&mut self, bytes: &[u8]) -> Result<usize, Ending> {
        let mut at = 0;
        while at < bytes.len() && self.blocked == Blocked::No {
            if self.passing > 0 {
                let now = self.passing.min(bytes.len() - at);
                if let Some(lease) = self.lease.as_mut().filter(|_| !self.dropping) {
                    lease.outbox.extend_from_slice(&bytes[at..at + now]);
                }
                self.passing -= now;
                at += now;
                continue;
            }
            let rest = &bytes[at..];
            let Some(head) = frame::from_client(rest).map_err(Refusal::Frame)? else {
                break;
            };
            match self.message(head, rest)? {
                Taken::Bytes(used) => at += used,
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
            b'F' => self.function(head),
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
                }
                Ok(Taken::Bytes(message.len()))
            }
        }
    }

    fn lease(&mut self) -> Result<&mut Lease, Ending> {
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

    /// Whether a message may go to the backend that is held. RESET leads to the server's default; what the client asked
    /// for at its start instead is set before its next unit.
    fn may_go_on(&mut self) -> bool {
        let Some(lease) = self.lease.as_mut().filter(|lease| !lease.is_open()) else {
            return true;
        };
        let in_transaction = lease.is_quiet() && lease.status != b'I';
        if !in_transaction && self.session.touched.iter().any(|one| one.reset) {
            self.blocked = Blocked::Settled;
        } else if lease.is_idle() && !Rc::ptr_eq(&lease.settings, &self.session.settings) {
            lease.bring_to(&self.session.settings);
            self.blocked = Blocked::Quiet;
        }
        self.blocked == Blocked::No
    }

    /// A backend for what these marks mean. `false`: blocked, or refused.
    fn ready_for(&mut self, tag: u8, scan: Option<&Scan>) -> Result<bool, Ending> {
        if self.lease.is_some() {
            return Ok(self.may_go_on());
        }
        let harmless = scan.is_none_or(|scan| scan.marks.is_none() && scan.ties.is_none());
        if harmless && self.may_read_elsewhere() {
            self.blocked = Blocked::Backend;
            return Ok(false);
        }
        let Some(pool) = self.worker.primary(&self.account) else {
            self.blocked = Blocked::Backend;
            return Ok(false);
        };
        let ties = scan.map_or(Marks::NONE, |scan| scan.ties);
        if !ties.is_none() && !pool.may_pin() {
            self.refuse_unit(
                tag,
                &Refusal::PinCap {
                    reason: ties.reason(),
                },
            );
            return Ok(false);
        }
        if scan.is_some_and(|scan| scan.marks.has(Marks::SEQUENCE_READ)) {
            self.account.reads_sequences.set(true);
            let same = self
                .session
                .sequence
                .and_then(|(id, tenure)| pool.take_same(id, tenure));
            let Some(lease) = same else {
                self.refuse_unit(tag, &Refusal::Sequence);
                return Ok(false);
            };
            self.adopt(lease);
        } else {
            match pool.try_take() {
                Some(lease) => self.adopt(lease),
                None => self.blocked = Blocked::Backend,
            }
        }
        Ok(self.blocked == Blocked::No)
    }

    fn not_ready(&self) -> Taken {
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

    /// Takes a backend for the unit that begins.
    pub(super) fn adopt(&mut self, mut lease: Lease) {
        self.worker.metrics.active.increment();
        self.shared.activity.set(Activity::Active);
        lease.info.client.set(self.shared.number);
        if lease.tenant != self.shared.number {
            lease.tenant = self.shared.number;
            lease.tenure += 1;
            if lease.sequences && self.account.reads_sequences.get() {
                lease.forget_sequences();
                self.blocked = Blocked::Quiet;
            }
        }
        if !Rc::ptr_eq(&lease.settings, &self.session.settings) {
            lease.bring_to(&self.session.settings);
            self.blocked = Blocked::Quiet;
        } else {
            let mut sink = Sink::new(
                &self.worker.shop,
                &mut self.session,
                &mut self.outbox,
                self.shared.number,
            );
            lease.tell_parameters(&mut sink);
        }
        self.lease = Some(lease);
    }

    /// Everything that was sent is to be answered first.
    fn block_until_quiet(&mut self) {
        if let Some(lease) = &mut self.lease
            && lease.is_open()
        {
            message::flush(&mut lease.outbox);
        }
        self.blocked = Blocked::Quiet;
    }

    fn note(&mut self, scan: &Scan) {
        let session = &mut self.session;
        session.marks = session.marks.with(scan.marks);
        session.touched.extend_from_slice(&scan.touched);
        if scan.effects.contains(&Effect::ResetAll) {
            for (name, _) in session.settings.iter().chain(session.startup.iter()) {
                let name = name.into();
                session.touched.push(Touched { name, reset: true });
            }
        }
        if scan.marks.has(Marks::SEQUENCE_WRITE)
            && let Some(lease) = &mut self.lease
        {
            lease.sequences = true;
        }
    }

    /// What a text means; nothing is known of one that cannot be taken apart.
    fn scan(&self, text: &[u8]) -> Scan {
        if self.session.lexable() {
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
        if !self.ready_for(b'Q', Some(&scan))? {
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
        self.note(&scan);
        self.track(text);
        let mut after = None;
        let rewritten = self.rewrite(text, &scan)?;
        let lease = self.lease()?;
        match &rewritten {
            Some(text) => message::write(&mut lease.outbox, b'Q', |out| message::put_text(out, text)),
            None => lease.outbox.extend_from_slice(whole),
        }
        if !scan.effects.is_empty() {
            let effects = match &rewritten {
                Some(text) => Scan::of(text).effects,
                None => scan.effects,
            };
            after = Some(Box::new(After { effects }));
        }
        lease.unnamed = Unnamed::Nothing;
        lease.expect(Kind::Query(after), false);
        self.session.unnamed = None;
        Ok(Taken::Bytes(whole.len()))
    }

    /// Within a transaction: what others left in this backend's sequences is forgotten, so that the server itself says
    /// that there is no current value. `true`: that has to be answered first.
    fn strange_sequences(&mut self) -> bool {
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

    /// Names of prepared statements in the text become ours; they are provided. `None`: the text stays.
    fn rewrite(&mut self, text: &[u8], scan: &Scan) -> Result<Option<Vec<u8>>, Ending> {
        let mut out: Option<Vec<u8>> = None;
        let mut at = 0;
        for reference in &scan.references {
            let Some(statement) = self.session.prepared.get(&reference.name).cloned() else {
                continue;
            };
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
    fn named(&self, name: &[u8]) -> Named {
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

    fn parse(&mut self, head: Head, body: &[u8]) -> Result<Taken, Ending> {
        let (name, text, types) = message::read_parse(body).ok_or(MALFORMED)?;
        let shop_statement = |client: &Self, text: &[u8]| {
            let meaning = Rc::clone(&client.session.meaning);
            client.worker.shop.statement(text, types, &meaning)
        };
        let mut statement = shop_statement(self, text);
        if !self.ready_for(b'P', Some(&statement.scan))? {
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

    /// The client's name for a statement: parsed on this server, or known there already.
    fn define(&mut self, name: &[u8], statement: &Rc<Statement>) -> Result<bool, Ending> {
        let lease = self.lease()?;
        if lease.known.has(&statement.name) == Has::No {
            lease.parse(&statement.name.clone(), statement, Some(name.into()), false);
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
        self.answer_ours();
        Ok(true)
    }

    /// Replies of ours whose turn has come.
    fn answer_ours(&mut self) {
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

    /// The name that the server knows the statement by, provided there. `None`: wait for replies.
    fn resolve(&mut self, name: &[u8]) -> Result<Option<Resolved>, Ending> {
        if name.is_empty() {
            return self
                .resolve_unnamed()
                .map(|statement| Some((Box::default(), statement)));
        }
        match self.named(name) {
            Named::Later => Ok(None),
            Named::Nothing => {
                // The server knows whether SQL has prepared it; names of ours are not for clients.
                let mut raw = name.to_vec();
                if raw.starts_with(PREFIX) {
                    raw.push(b'?');
                }
                Ok(Some((raw.into(), None)))
            }
            Named::Is(statement) => {
                let provided = self.lease()?.provide(&statement);
                let ours = statement.name.as_bytes().into();
                Ok(provided.then_some((ours, Some(statement))))
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

    fn bind(&mut self, head: Head, rest: &[u8]) -> Result<Taken, Ending> {
        let body = &rest[HEADER.min(rest.len())..rest.len().min(head.total())];
        let Some((portal, name, used)) = message::read_bind(body) else {
            return if rest.len() >= head.total() {
                Err(MALFORMED.into())
            } else {
                Ok(Taken::More)
            };
        };
        let statement = match self.named(name) {
            Named::Is(statement) => Some(statement),
            _ => None,
        };
        if !self.ready_for(b'B', statement.as_ref().map(|statement| &statement.scan))? {
            return Ok(self.not_ready());
        }
        let Some((ours, statement)) = self.resolve(name)? else {
            self.block_until_quiet();
            return Ok(Taken::Blocked);
        };
        match &statement {
            Some(statement) => self.track(&Rc::clone(statement).text),
            None => self.track_unknown(),
        }
        if let Some(statement) = statement {
            if self.session.lexable() {
                self.note(&statement.scan);
            } else {
                self.session.marks = self.session.marks.with(Marks::UNKNOWN);
            }
            if !statement.scan.effects.is_empty() {
                self.bound = Some((portal.into(), statement));
            }
        }
        let lease = self.lease()?;
        let length = head.body - used + portal.len() + 1 + ours.len() + 1 + 4;
        lease.outbox.push(b'B');
        lease
            .outbox
            .extend(u32::try_from(length).map_err(|_| MALFORMED)?.to_be_bytes());
        message::put_text(&mut lease.outbox, portal);
        message::put_text(&mut lease.outbox, &ours);
        lease.expect(Kind::Bind, false);
        self.passing = head.body - used;
        self.dropping = false;
        Ok(Taken::Bytes(HEADER + used))
    }

    fn describe(&mut self, whole: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        let (kind, name) = message::read_target(body).ok_or(MALFORMED)?;
        if !self.ready_for(b'E', None)? {
            return Ok(self.not_ready());
        }
        if kind == b'P' {
            let lease = self.lease()?;
            lease.outbox.extend_from_slice(whole);
        } else {
            let Some((ours, _)) = self.resolve(name)? else {
                self.block_until_quiet();
                return Ok(Taken::Blocked);
            };
            message::write(&mut self.lease()?.outbox, b'D', |out| {
                out.push(b'S');
                message::put_text(out, &ours);
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
            lease.expect(Kind::Closed { name: name.into() }, false);
            self.answer_ours();
            return Ok(Taken::Bytes(head.total()));
        }
        if kind == b'S' {
            self.session.unnamed = None;
            lease.unnamed = Unnamed::Nothing;
        }
        lease.outbox.extend_from_slice(whole);
        lease.expect(Kind::Close, false);
        Ok(Taken::Bytes(head.total()))
    }

    fn execute(&mut self, whole: &[u8], body: &[u8]) -> Result<Taken, Ending> {
        let (portal, _) = frame::text(body).ok_or(MALFORMED)?;
        if !self.ready_for(b'E', None)? {
            return Ok(self.not_ready());
        }
        let bound = self.bound.take_if(|(name, _)| **name == *portal);
        let after = bound.map(|(_, statement)| {
            Box::new(After {
                effects: statement.scan.effects.clone(),
            })
        });
        let lease = self.lease()?;
        lease.outbox.extend_from_slice(whole);
        lease.expect(Kind::Execute(after), false);
        Ok(Taken::Bytes(whole.len()))
    }

    fn sync(&mut self, whole: &[u8]) -> Taken {
        match &mut self.lease {
            Some(lease) => {
                lease.skipping = false;
                lease.outbox.extend_from_slice(whole);
                lease.expect(Kind::Sync, false);
            }
            None => message::ready(&mut self.outbox, b'I'),
        }
        Taken::Bytes(whole.len())
    }

    fn function(&mut self, head: Head) -> Result<Taken, Ending> {
        if !self.ready_for(b'F', None)? {
            return Ok(self.not_ready());
        }
        self.track_unknown();
        self.lease()?.expect(Kind::Function, false);
        Ok(self.pass_message(head))
    }

    /// After replies: the backend goes back when nothing of this client is left on it.
    pub(super) fn settle(&mut self) -> Result<(), Ending> {
        let Some(lease) = &mut self.lease else {
            return Ok(());
        };
        if let Some(cause) = lease.failure.take() {
            lease.spent = true;
            self.unfit += 1;
            if self.pinned || self.unfit > UNFIT || !lease.is_idle() {
                return Err(Refusal::Settings(cause).into());
            }
            // Nothing of the client's is on it: another one may do (a former client's time limit ended ours).
            self.lease = None;
            self.worker.metrics.active.decrement();
            if self.blocked == Blocked::Quiet {
                self.blocked = Blocked::Backend;
            }
            return Ok(());
        }
        if !lease.is_idle() || self.blocked != Blocked::No || self.passing > 0 {
            return Ok(());
        }
        let session = &mut self.session;
        let marks = std::mem::take(&mut session.marks);
        if marks.has(Marks::SEQUENCE_WRITE) {
            session.sequence = Some((lease.id, lease.tenure));
            if self.account.reads_sequences.get() {
                session.pins = session.pins.with(Marks::SEQUENCE_WRITE);
            }
        }
        let forever = Marks::UNKNOWN.with(Marks::LOAD);
        session.pins = session.pins.with(marks.only(forever));
        let ask = marks.without(forever.with(Marks::FREE));
        if !ask.is_none() {
            let touched = dedup(std::mem::take(&mut session.touched));
            if touched.iter().any(|one| one.reset) {
                // What comes next must not run before it is known which value it is to see.
                self.blocked = Blocked::Settled;
            }
            lease.ask_truth(ask, touched);
            return Ok(());
        }
        if std::mem::take(&mut lease.stale) {
            lease.known.clear();
            lease.clean("DEALLOCATE ALL");
            return Ok(());
        }
        let pinned = !session.pins.is_none();
        if pinned != self.pinned {
            self.pinned = pinned;
            self.shared.pins.set(session.pins.reason());
            if pinned {
                self.worker.metrics.pins.increment();
                lease.pool.pin();
            } else {
                lease.pool.unpin();
            }
        }
        if !pinned {
            self.release();
        }
        Ok(())
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.bound = None;
            self.unfit = 0;
            self.to_primary = false;
            self.on_replica = false;
            self.worker.metrics.active.decrement();
            self.shared.activity.set(Activity::Idle);
            lease.give_back();
        }
    }
}

/// The last mention of a name counts.
fn dedup(touched: Vec<Touched>) -> Vec<Touched> {
    let mut kept: Vec<Touched> = Vec::with_capacity(touched.len());
    for one in touched {
        kept.retain(|other| other.name != one.name);
        kept.push(one);
    }
    kept
}
