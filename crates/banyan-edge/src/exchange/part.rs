//! A request that the edge makes for another one: counted with its process, in no line of the log and no route.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;

use super::Exchange;
use crate::core::groups::Group;
use crate::interim::Interim;
use crate::respond::{Form, Outcome};
use crate::route::serving::Routed;

impl Exchange {
    /// `limit`: until its answer begins. What instances hint on the way is told to nobody.
    pub(crate) fn part(&self, group: &Rc<Group>, limit: Duration, form: Form) -> Self {
        let id = self.id.clone();
        let mut part = Self::new(&self.core, &self.peer, id, self.version, form);
        part.group = Rc::clone(group);
        part.part = Some(limit);
        part.interim = Some(Rc::new(Interim::default()));
        part
    }

    /// In place of this one, the same way: the client's own counts and is logged, not this.
    pub(crate) fn behind(&self, interim: Option<Rc<Interim>>) -> Self {
        let mut own = self.part(&self.group, Duration::ZERO, self.form);
        own.part = None;
        own.routed = self.routed.as_ref().map(Routed::again);
        own.interim = interim;
        own.shares = true;
        own.relayed = self.relayed;
        own.for_itself = self.for_itself;
        own.unseen = true;
        own
    }

    /// Of a part: with this, its own or the edge's in its place.
    pub(crate) fn ended(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.outcome = Outcome::Answered;
    }
}
