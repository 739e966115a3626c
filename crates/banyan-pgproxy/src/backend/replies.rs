//! Bytes from the server: each reply is matched with the message it answers, counted, kept back or passed on.
//!
//! Rows and COPY data are passed by length, never looked at. What does not fit the protocol is a [`Desync`]: both
//! sides are closed, because from then on nobody knows whose replies come.

use std::rc::Rc;

use super::connect::ends;
use super::expected::{Expected, Kind, Ours};
use super::meaning::rename;
use super::{Backend, Copying, Failure, Unnamed, Unsynced};
use crate::session::Session;
use crate::session::marks::Marks;
use crate::session::prepared::PREFIX;
use crate::session::truth;
use crate::wire::{frame, message};
use crate::worker::Shop;
use crate::workload::{Run, Slow};

/// Messages that are looked at are read whole up to this; longer ones are passed on unread.
const LOOK: usize = 64 * 1024;

/// The server's bytes do not fit what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Desync(pub(crate) &'static str);

/// What one batch of bytes brought.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    /// A unit of the client ended: its ReadyForQuery was passed on.
    pub(crate) ended: bool,
    /// The server said why it ends the connection (FATAL).
    pub(crate) fatal: bool,
    /// A statement that took long has ended: the last one, if there were several.
    pub(crate) slow: Option<Slow>,
}

/// Where replies go and what they change.
pub(crate) struct Sink<'a> {
    pub(crate) shop: &'a Shop,
    pub(crate) session: &'a mut Session,
    pub(crate) out: &'a mut Vec<u8>,
    /// The client's number.
    pub(crate) client: u32,
    received: Received,
}

impl<'a> Sink<'a> {
    /// The same for the next batch.
    pub(crate) fn again(&mut self) -> Sink<'_> {
        Sink::new(self.shop, self.session, self.out, self.client)
    }

    pub(crate) fn new(shop: &'a Shop, session: &'a mut Session, out: &'a mut Vec<u8>, client: u32) -> Self {
        Self {
            shop,
            session,
            out,
            client,
            received: Received::default(),
        }
    }
}

impl Backend {
    /// `bytes`: what has been read now.
    pub(crate) fn receive(&mut self, bytes: &[u8], mut sink: Sink<'_>) -> Result<Received, Desync> {
        if self.inbox.is_empty() {
            let used = self.take(bytes, &mut sink)?;
            self.inbox.extend_from_slice(&bytes[used..]);
        } else {
            let mut inbox = std::mem::take(&mut self.inbox);
            inbox.extend_from_slice(bytes);
            let used = self.take(&inbox, &mut sink)?;
            inbox.drain(..used);
            self.inbox = inbox;
        }
        Ok(sink.received)
    }

    /// Runs of messages that are passed on are copied at once.
    fn take(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<usize, Desync> {
        let mut at = 0;
        let mut run = 0;
        loop {
            if self.passing > 0 {
                let now = self.passing.min(bytes.len() - at);
                self.passing -= now;
                at += now;
                if self.pass_hidden {
                    run = at;
                }
                if self.passing > 0 {
                    break;
                }
            }
            if self.expected.front().is_some_and(|head| head.kind.is_silent()) {
                sink.out.extend_from_slice(&bytes[run..at]);
                run = at;
                self.answer_ours(sink);
            }
            let head = frame::from_server(&bytes[at..]).map_err(|_| Desync("a length"))?;
            let Some(head) = head else { break };
            let body = bytes[at..].get(frame::HEADER..head.total());
            let ours = head.tag == b'D' && matches!(self.head(), Some(Kind::Ours(_)));
            let whole = head.body <= LOOK && (ours || looked_at(head.tag));
            if whole && body.is_none() {
                break;
            }
            sink.out.extend_from_slice(&bytes[run..at]);
            run = at;
            let body = body.filter(|_| whole).unwrap_or_default();
            let show = self.message(head.tag, body, sink)?;
            if whole {
                at += head.total();
            } else {
                self.passing = head.total();
                self.pass_hidden = show == Show::Hide;
            }
            if show == Show::Hide {
                run = at;
            }
        }
        sink.out.extend_from_slice(&bytes[run..at]);
        Ok(at)
    }

    /// Answers what was not sent and has its turn now.
    pub(crate) fn answer_ours(&mut self, sink: &mut Sink<'_>) {
        while self.expected.front().is_some_and(|head| head.kind.is_silent()) {
            match self.expected.pop_front().map(|head| head.kind) {
                Some(Kind::Parsed { statement, name }) => {
                    sink.out.extend(PARSE_COMPLETE);
                    sink.session.prepared.insert(name, statement);
                }
                Some(Kind::Closed { name }) => {
                    sink.out.extend(CLOSE_COMPLETE);
                    sink.session.prepared.remove(&name);
                }
                _ => {}
            }
        }
    }

    fn message(&mut self, tag: u8, body: &[u8], sink: &mut Sink<'_>) -> Result<Show, Desync> {
        let hidden = self.expected.front().is_some_and(|head| head.hidden);
        let shown = if hidden { Show::Hide } else { Show::Pass };
        match tag {
            b'D' => {
                if let Some(Kind::Ours(_)) = self.head() {
                    self.row = message::read_row(body);
                }
                Ok(shown)
            }
            // Deferred triggers speak when our COMMIT runs.
            b'N' if matches!(self.head(), Some(Kind::Ours(Ours::Commit))) => Ok(Show::Pass),
            b'd' | b'N' | b'V' => Ok(shown),
            b'T' | b'n' => {
                if matches!(self.head(), Some(Kind::Describe)) {
                    self.expected.pop_front();
                }
                Ok(shown)
            }
            b't' => Ok(shown),
            b'1' => self.parsed(sink).map(|()| shown),
            b'2' => self.pop(|kind| matches!(kind, Kind::Bind), shown),
            b'3' => self.pop(|kind| matches!(kind, Kind::Close { .. }), shown),
            b'C' | b'I' | b's' => self.completed(tag, body, sink).map(|()| shown),
            b'G' => self.copy_in().map(|()| shown),
            b'H' | b'c' => Ok(shown),
            b'E' => Ok(self.error(body, sink)),
            b'Z' => self.ready(body, shown, sink),
            b'S' => Ok(self.parameter(body, hidden, sink)),
            b'A' => Ok(Show::Pass),
            _ => Err(Desync("a message type")),
        }
    }

    fn head(&self) -> Option<&Kind> {
        self.expected.front().map(|head| &head.kind)
    }

    fn pop(&mut self, fits: impl Fn(&Kind) -> bool, show: Show) -> Result<Show, Desync> {
        match self.expected.pop_front() {
            Some(head) if fits(&head.kind) => Ok(show),
            _ => Err(Desync("a reply to nothing")),
        }
    }

    fn parsed(&mut self, sink: &mut Sink<'_>) -> Result<(), Desync> {
        let Some(Expected {
            kind: Kind::Parse { statement, name },
            ..
        }) = self.expected.pop_front()
        else {
            return Err(Desync("ParseComplete"));
        };
        match name {
            Some(name) if name.is_empty() => {
                self.unnamed = Unnamed::Of(sink.client, Rc::clone(&statement));
                sink.session.unnamed = Some(statement);
            }
            Some(name) => {
                self.known.confirmed(&statement.name);
                sink.session.prepared.insert(name, statement);
            }
            None => self.known.confirmed(&statement.name),
        }
        Ok(())
    }

    fn completed(&mut self, tag: u8, body: &[u8], sink: &mut Sink<'_>) -> Result<(), Desync> {
        match self.expected.front_mut().map(|head| &mut head.kind) {
            Some(Kind::Query(after)) => {
                // A later statement of the text may fail: what DEALLOCATE has done no rollback undoes.
                let effect = after.as_mut().and_then(|after| after.next(body));
                self.succeeded(sink.out);
                if let Some(effect) = effect {
                    self.apply(&effect, sink);
                }
                Ok(())
            }
            Some(Kind::Ours(_)) => Ok(()),
            Some(Kind::Execute(_)) => {
                self.succeeded(sink.out);
                let Some(head) = self.expected.pop_front() else {
                    return Ok(());
                };
                self.measured(head.run, false, sink);
                let after = match head.kind {
                    Kind::Execute(after) if tag == b'C' => after,
                    _ => None,
                };
                self.copying = Copying::No;
                for effect in after.iter().flat_map(|after| &after.effects) {
                    self.apply(effect, sink);
                }
                Ok(())
            }
            _ => Err(Desync("CommandComplete")),
        }
    }

    /// From here to the end of the data the server ignores Sync and Flush: those that are on their way, too.
    fn copy_in(&mut self) -> Result<(), Desync> {
        if !matches!(self.head(), Some(Kind::Query(_) | Kind::Execute(_))) {
            return Err(Desync("CopyInResponse"));
        }
        let end = self.expected.iter().position(|e| matches!(e.kind, Kind::CopyEnd));
        let until = end.unwrap_or(self.expected.len());
        let mut at = 0;
        self.expected.retain(|e| {
            at += 1;
            at > until || !matches!(e.kind, Kind::Sync)
        });
        if matches!(self.head(), Some(Kind::Execute(_))) {
            let synced = self.expected.back().is_some_and(|last| last.kind.ends_unit());
            self.unsynced = match synced {
                true => Unsynced::Nothing,
                false => Unsynced::Bound,
            };
        }
        if end.is_none() {
            self.copying = Copying::In;
        }
        Ok(())
    }

    fn error(&mut self, body: &[u8], sink: &mut Sink<'_>) -> Show {
        let field = |kind| message::error_field(body, kind).unwrap_or_default();
        if matches!(field(b'V'), b"FATAL" | b"PANIC") {
            sink.received.fatal = true;
            self.spent = true;
            if ends(field(b'C')) {
                // Whose end it is, the connection's or the server's, is to be seen.
                let farewell = self.farewell.get_or_insert_default();
                message::write(farewell, b'E', |out| out.extend_from_slice(body));
                return Show::Hide;
            }
            return Show::Pass;
        }
        self.copying = Copying::No;
        if field(b'C') == b"0A000" && field(b'M').starts_with(b"cached plan") {
            // Who changed the definitions did it past us.
            self.stale = true;
            sink.shop.plan_refused();
        }
        if let Some(Kind::Ours(ours)) = self.head() {
            // A cancel that came late ends the transaction in the question for its number.
            let late = matches!(ours, Ours::Number) && field(b'C') != b"25P02";
            if matches!(ours, Ours::Commit) || late && self.is_guarded() {
                let run = self.guard.as_mut().map(|guard| std::mem::take(&mut guard.run));
                self.measured(run.unwrap_or_default(), true, sink);
                self.commit_failed(sink.out);
                return Show::Pass;
            }
            if late || !matches!(ours, Ours::Forget | Ours::Number | Ours::Outcome) {
                self.failure = Some(Failure {
                    code: field(b'C').to_vec(),
                    words: String::from_utf8_lossy(field(b'M')).into_owned(),
                });
            }
            return Show::Hide;
        }
        match self.head() {
            Some(Kind::Query(_)) if self.told => {
                self.failed = true;
                return Show::Hide;
            }
            Some(Kind::Query(_) | Kind::Function) => self.failed = true,
            Some(Kind::Sync) => {}
            _ => {
                let failed = self.expected.front().map(|head| head.run);
                self.measured(failed.unwrap_or_default(), true, sink);
                let ours = self.expected.get(1);
                let before_query = ours.is_some_and(|one| one.hidden && matches!(one.kind, Kind::Sync));
                self.drop_unit(sink);
                if before_query && std::mem::replace(&mut self.told, true) {
                    return Show::Hide;
                }
            }
        }
        // A failed unit's error is the client's, even if the message was ours.
        if memchr::memmem::find(body, PREFIX).is_some() {
            let text = rename(body, sink.session);
            message::write(sink.out, b'E', |out| out.extend(text));
            return Show::Hide;
        }
        Show::Pass
    }

    /// The server ignores all up to the next Sync.
    fn drop_unit(&mut self, sink: &mut Sink<'_>) {
        while let Some(head) = self.expected.front() {
            if matches!(head.kind, Kind::Sync) {
                return;
            }
            match self.expected.pop_front().map(|head| head.kind) {
                Some(Kind::Parse { statement, name }) => {
                    if name.as_ref().is_some_and(|name| name.is_empty()) {
                        sink.session.unnamed = None;
                        self.unnamed = Unnamed::Unknown;
                    } else if self.known.has(&statement.name) == super::known::Has::Perhaps {
                        self.known.forget(&statement.name);
                    }
                }
                // The server has it still.
                Some(Kind::Close { surplus: Some(name) }) => self.known.stays(&name),
                Some(Kind::Close { surplus: None }) => self.unnamed = Unnamed::Unknown,
                _ => {}
            }
        }
        self.skipping = true;
    }

    /// The statement has ended, unless it is committed by us: then it ends with that.
    fn measured(&mut self, run: Run, failed: bool, sink: &mut Sink<'_>) {
        let guard = self.guard.as_mut();
        let run = match guard.filter(|guard| guard.ours && !failed && !guard.commits) {
            Some(guard) => std::mem::replace(&mut guard.run, run),
            None => run,
        };
        let slow = sink.shop.workload.end(run, failed, &mut self.free_us);
        // One of a read is told: a slow one before others.
        let told = sink.received.slow;
        sink.received.slow = told.filter(|told| told.is_slow).or(slow).or(told);
    }

    fn ready(&mut self, body: &[u8], shown: Show, sink: &mut Sink<'_>) -> Result<Show, Desync> {
        let &[status] = body else {
            return Err(Desync("ReadyForQuery"));
        };
        let Some(head) = self.expected.pop_front() else {
            return Err(Desync("ReadyForQuery to nothing"));
        };
        self.status = status;
        self.copying = Copying::No;
        let failed = std::mem::take(&mut self.failed);
        match head.kind {
            Kind::Query(_) => {
                self.told = false;
                self.measured(head.run, failed, sink);
            }
            Kind::Function | Kind::Sync => {}
            Kind::Ours(ours) => {
                self.ours_done(ours, sink);
                return Ok(Show::Hide);
            }
            _ => return Err(Desync("ReadyForQuery too early")),
        }
        if shown == Show::Pass && self.waits_for_commit() {
            return Ok(Show::Hide);
        }
        sink.received.ended |= shown == Show::Pass;
        Ok(shown)
    }

    fn ours_done(&mut self, ours: Ours, sink: &mut Sink<'_>) {
        let row = self.row.take();
        let failed = self.failure.is_some();
        match ours {
            Ours::Settings(settings) if !failed => {
                self.settings = settings;
                self.tell_parameters(sink);
            }
            Ours::Anew(settings) if !failed => {
                self.unclean = false;
                self.settings = settings;
                self.tell_parameters(sink);
            }
            Ours::Truth { marks, names } => {
                let row = row.filter(|_| !failed);
                let answer = row.and_then(|row| truth::answer(marks, &names, row));
                self.failure = None;
                match answer {
                    Some(answer) => self.learn(marks, &names, answer, sink),
                    None => {
                        sink.session.doubted = Some(Box::new((marks, names)));
                        sink.session.pins = sink.session.pins.with(Marks::DOUBT);
                    }
                }
            }
            Ours::Number => self.numbered(row),
            Ours::Outcome => self.row = row,
            Ours::Commit => {
                let run = self.guard.take().map(|guard| guard.run);
                self.measured(run.unwrap_or_default(), false, sink);
                message::ready(sink.out, self.status);
                sink.received.ended = true;
            }
            Ours::Settings(_) | Ours::Anew(_) | Ours::Clean | Ours::Forget | Ours::Begin => {}
        }
    }
}

const PARSE_COMPLETE: [u8; 5] = [b'1', 0, 0, 0, 4];
const CLOSE_COMPLETE: [u8; 5] = [b'3', 0, 0, 0, 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    Pass,
    Hide,
}

/// Types whose body matters. Rows matter only to questions of our own, which are short.
fn looked_at(tag: u8) -> bool {
    matches!(
        tag,
        b'Z' | b'C' | b'E' | b'S' | b'1' | b'2' | b'3' | b'n' | b'I' | b's'
    )
}
