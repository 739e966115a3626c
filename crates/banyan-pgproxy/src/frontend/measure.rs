//! What of a client's statements is measured, and what is known of a slow one.

use super::client::Client;
use crate::session::prepared::Statement;
use crate::wire::frame::{self, HEADER};
use crate::wire::message;
use crate::workload::{Query, Run, Slow, SlowLine, Whereabouts, trace_in};
use banyan_telemetry::trace::TraceParent;

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
        let query = match self.session.lexable() {
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
        let statement = statement.filter(|_| self.session.lexable());
        self.executes = statement.map_or(Query::OTHER, |statement| workload.prepared(statement));
    }

    pub(super) fn measure_execute(&self) -> Run {
        if self.executes == Query::NONE {
            return Run::default();
        }
        self.worker.shop.workload.begin(self.executes, self.whereabouts())
    }

    #[cold]
    pub(super) fn tell_slow(&self, slow: Slow) {
        let settings = &self.session.settings;
        let application = settings.get("application_name").unwrap_or_default();
        let node = self.lease.as_ref().map(|lease| lease.pool.node.to_string());
        let line = SlowLine {
            trace: self.trace().or_else(|| TraceParent::parse(application)),
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
