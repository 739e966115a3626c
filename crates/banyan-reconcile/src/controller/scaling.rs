//! The scaling loop's half that acts: what the load asks for is begun, unless something else is changing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use banyan_capacity::autoscale::Activity;
use banyan_runtime::TaskKind;
use banyan_topology::{Change, ProcessName, Topology};
use tokio::sync::mpsc;

use super::busy::{Busy, What};
use super::change::done_reply;
use super::scale::{self, Sight};
use super::service::{Loop, tell};
use crate::driver::Driver;
use crate::proto::{AutoscaleVerb, Outcome, Reply};

/// What the load asked for.
pub(super) struct Scaled {
    wanted: BTreeMap<ProcessName, u32>,
    before: Topology,
    began: Instant,
}

impl<D: Driver> Loop<D> {
    pub(super) fn autoscale(&mut self, verb: AutoscaleVerb, replies: &mpsc::UnboundedSender<Reply>) {
        let now = self.clock.now();
        match verb {
            AutoscaleVerb::Show => {}
            AutoscaleVerb::Why if self.topology.as_ref().is_some_and(scale::follows) => {
                let decisions = self.scaling.explained();
                return tell(replies, Reply::Decided { decisions });
            }
            AutoscaleVerb::Why => {}
            AutoscaleVerb::Pause => self.scaling.pause(now, self.clock.unix_ms()),
            AutoscaleVerb::GoOn => self.scaling.go_on(now),
        }
        let shown = self
            .topology
            .as_ref()
            .and_then(|topology| self.scaling.shown(topology));
        tell(replies, Reply::Autoscale { shown });
    }

    /// Looks at the load; begins what it asks for, unless something else is changing.
    pub(super) async fn scale(&mut self) {
        let Some(topology) = &self.topology else { return };
        if !self.scaling.due(self.clock.now(), topology) {
            return;
        }
        let children = self.changer.driver.children();
        let children = tokio::time::timeout(Duration::from_secs(2), children).await;
        let nothing = BTreeMap::new();
        let now = self.clock.now();
        let scaled = self.busy.as_ref().and_then(|busy| busy.scaled.as_ref());
        let coming = scaled.map_or(&nothing, |scaled| &scaled.wanted);
        let activity = if scaled.is_some() || (self.busy.is_none() && self.unfinished.is_none()) {
            Activity::Calm
        } else {
            Activity::Changing
        };
        let wanted = self.scaling.tick(&Sight {
            now,
            unix_ms: self.clock.unix_ms(),
            topology,
            endpoints: self.rates.current(now).map_or(&[], |report| &report.endpoints),
            pgproxy: self.pgproxy.as_ref(),
            children: &children.unwrap_or_default(),
            activity,
            coming,
        });
        let more = wanted.iter().any(|(process, want)| {
            let coming = coming.get(process).copied();
            *want > coming.unwrap_or_else(|| scale::instances(process, topology))
        });
        if wanted.is_empty() || activity == Activity::Changing || (scaled.is_some() && !more) {
            return;
        }
        // Instances that drain are in nobody's way, but those that are needed must not wait for them.
        self.cut_short("more is needed").await;
        self.begin_scale(wanted);
    }

    fn begin_scale(&mut self, wanted: BTreeMap<ProcessName, u32>) {
        let Some(before) = self.topology.clone() else {
            return;
        };
        let changer = self.changer.clone();
        let config = self.config.clone();
        let (sender, events) = mpsc::unbounded_channel();
        let change = Change::Scale {
            counts: wanted.clone(),
        };
        let task = self.tasks.spawn(TaskKind::Background, "scaling", async move {
            let mut hear = |event| drop(sender.send(event));
            changer.settle().await;
            done_reply(Box::pin(changer.apply(&config, change, None, &mut hear)).await)
        });
        let now_ms = self.clock.unix_ms();
        let scaled = Scaled {
            wanted,
            before,
            began: self.clock.now(),
        };
        let mut busy = Busy::begin(What::Scale, task, events, Vec::new(), now_ms);
        busy.scaled = Some(scaled);
        self.busy = Some(busy);
    }

    /// How a scaling ended.
    pub(super) fn scaled(&mut self, scaled: &Scaled, reply: &Reply) {
        let now = self.clock.now();
        match reply {
            Reply::Done {
                outcome: Outcome::Changed | Outcome::Nothing,
                ..
            } => {
                let took = now.saturating_duration_since(scaled.began);
                let unix_ms = self.clock.unix_ms();
                self.scaling
                    .changed(now, unix_ms, &scaled.before, &scaled.wanted, took);
            }
            Reply::Done { error, .. } => {
                let error = error.clone().unwrap_or_else(|| "it was undone".to_owned());
                self.scaling.failed(now, error);
            }
            _ => {}
        }
    }
}
