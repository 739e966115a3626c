//! What of a client's statements is measured, what is known of a slow one, and what each tells of itself in its trace.

use super::client::Client;
use crate::session::prepared::Statement;
use crate::wire::frame::{self, HEADER};
use crate::wire::message;
use crate::workload::{Query, Run, Slow, SlowLine, Whereabouts, trace_in};
use banyan_runtime::Clock;
use banyan_telemetry::span::Span;
use banyan_telemetry::trace::TraceParent;

/// Of a statement's shape in a trace, in characters.
const SHOWN: usize = 200;
/// Shorter waits for a connection are none, in microseconds.
const WAITED_US: u64 = 100;

impl Client {
    fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            alone: !self.flight.within,
            on_replica: self.on_replica,
        }
    }

    /// A text of the simple protocol is sent next.
    pub(super) fn measure_text(&self, text: &[u8]) -> Run {
        let workload = &self.worker.shop.workload;
        if !workload.is_on() {
            return Run::default();
        }
        let query = match self.session.can_lex(text) {
            true => workload.query(text),
            false => Query::OTHER,
        };
        workload.begin(query, self.whereabouts())
    }

    /// What Execute runs from now on. A portal that is executed after another was bound counts as that one's.
    pub(super) fn measure_bound(&mut self, statement: Option<&std::rc::Rc<Statement>>) {
        let workload = &self.worker.shop.workload;
        if !workload.is_on() {
            self.executes = Query::NONE;
            return;
        }
        let statement = statement.filter(|statement| self.session.can_lex(&statement.text));
        self.executes = statement.map_or(Query::OTHER, |statement| workload.prepared(statement));
    }

    pub(super) fn measure_execute(&self) -> Run {
        if self.executes == Query::NONE {
            return Run::default();
        }
        self.worker.shop.workload.begin(self.executes, self.whereabouts())
    }

    pub(super) fn ended(&mut self, slow: Slow) {
        if slow.is_slow {
            self.tell_slow(slow);
        }
        if self.worker.shop.workload.tells_all()
            && let Some(step) = self.step()
        {
            self.tell_trace(step, slow);
            // It was this one's, and not also of the next one in its transaction.
            self.waited_us = 0;
        }
    }

    /// Whose request it is for, as its comment or `application_name` says.
    fn step(&self) -> Option<TraceParent> {
        let application = self.session.settings.get("application_name").unwrap_or_default();
        TraceParent::parse(application).or_else(|| self.trace())
    }

    /// The statement, and within it what it waited for.
    #[cold]
    fn tell_trace(&self, step: TraceParent, ended: Slow) {
        let mut spans = self.worker.spans.borrow_mut();
        if !spans.has_room() {
            return;
        }
        let waited_us = Some(self.waited_us).filter(|waited_us| *waited_us >= WAITED_US);
        let name = self.worker.shop.workload.shown(ended.query);
        if name.starts_with("SET ") && waited_us.is_none() {
            // Most likely how the trace was told: no step of it.
            return;
        }
        let lease = self.lease.as_ref();
        let node = lease.map(|lease| lease.pool.node.to_string()).unwrap_or_default();
        let took_us = ended.took_us.saturating_add(self.waited_us);
        let id = step.span().beside(self.worker.next_span());
        let route = if self.on_replica { "replica" } else { "primary" };
        let fields = [("server", node.as_str()), ("route", route)];
        let statement = Span {
            trace: step.trace(),
            id,
            parent: Some(step.span()),
            who: "pgproxy".to_owned(),
            name: name.chars().take(SHOWN).collect(),
            start_us: Clock.unix_us().saturating_sub(took_us),
            took_us,
            failed: ended.failed,
            keep: ended.is_slow,
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        if let Some(took_us) = waited_us {
            spans.emit(Span {
                id: id.beside(1),
                parent: Some(id),
                name: "wait for a connection".to_owned(),
                took_us,
                failed: false,
                ..statement.clone()
            });
        }
        spans.emit(statement);
    }

    #[cold]
    fn tell_slow(&self, slow: Slow) {
        let settings = &self.session.settings;
        let application = settings.get("application_name").unwrap_or_default();
        let node = self.lease.as_ref().map(|lease| lease.pool.node.to_string());
        let line = SlowLine {
            trace: self.step(),
            application,
            user: &self.account.user,
            client: self.shared.peer,
            node: node.unwrap_or_default(),
            waited_us: self.waited_us,
        };
        self.worker.shop.workload.tell_slow(slow, &line);
    }

    /// Of the unit under way, as far as its own bytes tell: none of units that were sent before the one before was answered.
    fn trace(&self) -> Option<TraceParent> {
        let flight = &self.flight;
        let mut rest = flight.sent.as_slice();
        while let Ok(Some(head)) = frame::from_client(rest) {
            let body = rest.get(HEADER..head.total()).filter(|_| !flight.several)?;
            let text = match head.tag {
                b'Q' => Some(body),
                b'P' => message::read_parse(body).map(|(_, text, _)| text),
                _ => None,
            };
            if let Some(trace) = text.and_then(trace_in) {
                return Some(trace);
            }
            rest = &rest[head.total()..];
        }
        None
    }
}
