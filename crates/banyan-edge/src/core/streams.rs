//! Where connections go that are passed on as they are: the snapshot's listeners with the groups of this core.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::{StreamListener, StreamTo};
use banyan_telemetry::{Counter, Gauge};

use super::groups::{Group, Groups};

/// What one core counts of one listener.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct StreamCells {
    /// Those that reached an instance.
    pub connections: Counter,
    pub open: Gauge,
    pub refused: Counter,
    /// Bytes from clients, and to them.
    pub received: Counter,
    pub sent: Counter,
}

/// A listener and what this core counts of it.
pub(crate) type Counted = (StreamListener, Arc<StreamCells>);

#[derive(Default)]
pub(super) struct Streams {
    /// By the configured address.
    by_address: HashMap<SocketAddr, Rc<Stream>>,
    passthrough: Option<Rc<Stream>>,
}

pub(crate) struct Stream {
    pub name: String,
    pub to: To,
    /// Trusted proxies begin with a PROXY header.
    pub proxied: bool,
    pub idle: Duration,
    pub cells: Arc<StreamCells>,
}

pub(crate) enum To {
    /// `None`: a group that the snapshot does not have.
    Group(Option<Rc<Group>>),
    Names(Names),
}

/// Groups by the name in a handshake.
pub(crate) struct Names {
    exact: HashMap<String, Rc<Group>>,
    /// By what follows `*.`.
    below: HashMap<String, Rc<Group>>,
    otherwise: Option<Rc<Group>>,
}

impl Streams {
    pub(super) fn compile(list: Vec<Counted>, passthrough: Option<Counted>, groups: &Groups) -> Self {
        let by_address = list.into_iter().map(|(listener, cells)| {
            let address = listener.listen;
            (address, Rc::new(Stream::compile(listener, cells, groups)))
        });
        Self {
            by_address: by_address.collect(),
            passthrough: passthrough
                .map(|(listener, cells)| Rc::new(Stream::compile(listener, cells, groups))),
        }
    }

    pub(super) fn of(&self, asked: SocketAddr) -> Option<Rc<Stream>> {
        self.by_address.get(&asked).cloned()
    }

    pub(super) fn passthrough(&self) -> Option<Rc<Stream>> {
        self.passthrough.clone()
    }
}

impl Stream {
    fn compile(listener: StreamListener, cells: Arc<StreamCells>, groups: &Groups) -> Self {
        let to = match listener.to {
            StreamTo::Process(process) => To::Group(groups.of(&process)),
            StreamTo::Names { names, otherwise } => {
                let mut compiled = Names {
                    exact: HashMap::new(),
                    below: HashMap::new(),
                    otherwise: otherwise.and_then(|process| groups.of(&process)),
                };
                for (name, process) in names {
                    let Some(group) = groups.of(&process) else {
                        continue;
                    };
                    match name.strip_prefix("*.") {
                        Some(parent) => compiled.below.insert(parent.to_owned(), group),
                        None => compiled.exact.insert(name, group),
                    };
                }
                To::Names(compiled)
            }
        };
        Self {
            name: listener.name,
            to,
            proxied: listener.proxy_protocol,
            idle: listener.idle,
            cells,
        }
    }

    /// By the name in a handshake: a whole name, then `*.` one level below it.
    pub(crate) fn named(&self, name: Option<&str>) -> Option<Rc<Group>> {
        let To::Names(names) = &self.to else { return None };
        let of_name = name.and_then(|name| {
            let below = || names.below.get(name.split_once('.')?.1);
            names.exact.get(name).or_else(below)
        });
        of_name.or(names.otherwise.as_ref()).cloned()
    }
}
