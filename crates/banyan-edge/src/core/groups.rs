//! The groups of endpoints of one core, one per process. A request keeps its group while it waits and tries again.
//!
//! What remains over an update keeps its health and connections. A group that is gone lives on, empty, in the requests
//! that still have it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use banyan_topology::snapshot::{self, Endpoint};
use banyan_topology::{InstanceId, ProcessName};
use banyan_upstream::{EndpointSet, Entry, Rules};

use crate::forward::gate::Gate;
use crate::forward::pool::Upstream;
use crate::metrics::ProcessCells;

pub(crate) struct Group {
    process: Option<ProcessName>,
    pub endpoints: RefCell<EndpointSet<Rc<Upstream>>>,
    /// Woken when an endpoint may have become pickable.
    pub ready_changed: Notify,
    /// Common to all cores.
    pub gate: Arc<Gate>,
    /// This core's counters of the process.
    pub cells: Arc<ProcessCells>,
}

/// A group as the control task knows it.
#[derive(Clone)]
pub(crate) struct Shared {
    pub upstream: snapshot::Upstream,
    /// The line of its requests over all cores.
    pub gate: Arc<Gate>,
    /// The core's counters of the process.
    pub cells: Arc<ProcessCells>,
}

pub(crate) struct Groups {
    /// Where rounds begin.
    core: usize,
    /// Gets what no route sends elsewhere.
    default: Rc<Group>,
    others: Vec<Rc<Group>>,
}

impl Group {
    /// `None`: that of the edge.
    pub(crate) fn process(&self) -> Option<&ProcessName> {
        self.process.as_ref()
    }

    fn new(
        core: usize,
        rules: Rules,
        process: Option<ProcessName>,
        gate: Arc<Gate>,
        cells: Arc<ProcessCells>,
    ) -> Rc<Self> {
        Rc::new(Self {
            process,
            endpoints: RefCell::new(EndpointSet::new(core, rules)),
            ready_changed: Notify::new(),
            gate,
            cells,
        })
    }

    fn update(&self, endpoints: &[Endpoint], rules: Rules, attach: impl FnMut(&Endpoint) -> Rc<Upstream>) {
        let mut set = self.endpoints.borrow_mut();
        let change = set.update(endpoints, rules, attach);
        for entry in set.entries() {
            entry.data.set_state(Some(entry.state));
        }
        for entry in change.removed {
            entry.data.set_state(None);
        }
        drop(set);
        self.ready_changed.notify_waiters();
    }
}

impl Groups {
    pub(crate) fn new(core: usize, rules: Rules) -> Self {
        Self {
            core,
            default: Group::new(core, rules, None, Arc::default(), Arc::default()),
            others: Vec::new(),
        }
    }

    pub(crate) fn default(&self) -> Rc<Group> {
        Rc::clone(&self.default)
    }

    pub(crate) fn of(&self, process: &ProcessName) -> Option<Rc<Group>> {
        self.all()
            .find(|group| group.process.as_ref() == Some(process))
            .cloned()
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Group>> {
        std::iter::once(&self.default).chain(&self.others)
    }

    /// `list`: the default one first.
    pub(crate) fn update(
        &mut self,
        list: &[Shared],
        rules: Rules,
        mut attach: impl FnMut(&Endpoint) -> Rc<Upstream>,
    ) {
        let mut old: Vec<Rc<Group>> = self.all().cloned().collect();
        let mut new = Vec::with_capacity(list.len());
        let mut rules = rules;
        for Shared {
            upstream,
            gate,
            cells,
        } in list
        {
            let process = Some(&upstream.process);
            let kept = old.iter().position(|group| group.process.as_ref() == process);
            let group = match kept {
                Some(index) => old.swap_remove(index),
                None => {
                    let (gate, cells) = (Arc::clone(gate), Arc::clone(cells));
                    Group::new(self.core, rules.clone(), process.cloned(), gate, cells)
                }
            };
            group.update(&upstream.endpoints, rules.clone(), &mut attach);
            for entry in group.endpoints.borrow().entries() {
                entry.data.set_proxy(upstream.proxy_protocol);
            }
            new.push(group);
            // Weights are those of the edge's own process.
            rules.weights.clear();
        }
        for gone in old {
            gone.update(&[], rules.clone(), &mut attach);
        }
        let mut new = new.into_iter();
        self.default = new
            .next()
            .unwrap_or_else(|| Group::new(self.core, rules, None, Arc::default(), Arc::default()));
        self.others = new.collect();
    }

    fn having(&self, id: &InstanceId) -> impl Iterator<Item = &Rc<Group>> {
        self.all()
            .filter(|group| group.process.as_ref() == Some(&id.process))
    }

    pub(crate) fn set_ejected(&self, id: &InstanceId, ejected: bool, now: Instant) {
        for group in self.having(id) {
            group.endpoints.borrow_mut().set_ejected(id, ejected, now);
            group.ready_changed.notify_waiters();
        }
    }

    pub(crate) fn set_ready(&self, id: &InstanceId, ready: bool, now: Instant) {
        for group in self.having(id) {
            group.endpoints.borrow_mut().set_ready(id, ready, now);
            group.ready_changed.notify_waiters();
        }
    }

    pub(crate) fn each_group(&self, mut then: impl FnMut(&Group)) {
        self.each_of(|group| then(group));
    }

    pub(crate) fn each_of(&self, then: impl FnMut(&Rc<Group>)) {
        self.all().for_each(then);
    }

    pub(crate) fn each(&self, mut then: impl FnMut(&Entry<Rc<Upstream>>)) {
        for group in self.all() {
            group.endpoints.borrow().entries().iter().for_each(&mut then);
        }
    }
}
