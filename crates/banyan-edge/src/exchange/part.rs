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
        Self {
            core: Rc::clone(&self.core),
            peer: Rc::clone(&self.peer),
            id: self.id.clone(),
            group: Rc::clone(group),
            part: Some(limit),
            routed: None,
            filtered: None,
            trace: None,
            upstream: None,
            retries: 0,
            forwarded: false,
            waited: Duration::ZERO,
            outcome: Outcome::Refused,
            may_have_acted: false,
            location: None,
            bytes: 0,
            most: None,
            received: None,
            status: None,
            started: self.core.now(),
            form,
            interim: Some(Rc::new(Interim::default())),
            plain: false,
            end_decides: false,
            cached: None,
            is_hit: false,
            shares: false,
            unseen: false,
            meant: None,
            version: self.version,
            logged: None,
        }
    }

    /// In place of this one, the same way: the client's own counts and is logged, not this.
    pub(crate) fn behind(&self, interim: Option<Rc<Interim>>) -> Self {
        let mut own = self.part(&self.group, Duration::ZERO, self.form);
        own.part = None;
        own.routed = self.routed.as_ref().map(Routed::again);
        own.interim = interim;
        own.shares = true;
        own.unseen = true;
        own
    }

    /// Of a part: with this, its own or the edge's in its place.
    pub(crate) fn ended(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.outcome = Outcome::Answered;
    }
}
