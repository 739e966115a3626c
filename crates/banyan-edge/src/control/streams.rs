//! What is counted of listeners that speak no HTTP, over all cores; a listener keeps its counts while it has its name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::{StreamListener, StreamTo};
use banyan_topology::report::StreamReport;

use super::Control;
use crate::core::streams::{Counted, StreamCells};

/// Counts under this name what shares the https port.
const PASSTHROUGH: &str = "passthrough";
const PASSTHROUGH_IDLE: Duration = Duration::from_secs(3600);

/// By listener, one per core.
pub(super) type Cells = BTreeMap<String, Vec<Arc<StreamCells>>>;

impl Control {
    /// As the cores get it: the listeners, and the names on https listeners if there are any.
    pub(super) fn prepare_streams(&mut self) -> (Vec<StreamListener>, Option<StreamListener>) {
        let passthrough = (!self.snapshot.passthrough.is_empty()).then(|| StreamListener {
            name: PASSTHROUGH.to_owned(),
            listen: ([0, 0, 0, 0], 0).into(),
            to: StreamTo::Names {
                names: self.snapshot.passthrough.clone(),
                otherwise: None,
            },
            proxy_protocol: false,
            idle: PASSTHROUGH_IDLE,
        });
        let mut former = std::mem::take(&mut self.streams);
        for listener in self.snapshot.streams.iter().chain(&passthrough) {
            let cells = former
                .remove(&listener.name)
                .unwrap_or_else(|| self.cores.iter().map(|_| Arc::default()).collect());
            self.streams.insert(listener.name.clone(), cells);
        }
        (self.snapshot.streams.clone(), passthrough)
    }

    /// Of one core.
    pub(super) fn counted(&self, listener: &StreamListener, core: usize) -> Counted {
        let cells = self.streams.get(&listener.name).and_then(|cells| cells.get(core));
        (listener.clone(), cells.cloned().unwrap_or_default())
    }

    pub(super) fn stream_reports(&self) -> Vec<StreamReport> {
        let report = |(name, cells): (&String, &Vec<Arc<StreamCells>>)| {
            let sum = |read: fn(&StreamCells) -> u64| cells.iter().map(|c| read(c)).sum();
            StreamReport {
                name: name.clone(),
                connections: sum(|c| c.connections.get()),
                open: sum(|c| c.open.get()),
                refused: sum(|c| c.refused.get()),
                received: sum(|c| c.received.get()),
                sent: sum(|c| c.sent.get()),
            }
        };
        self.streams.iter().map(report).collect()
    }
}
