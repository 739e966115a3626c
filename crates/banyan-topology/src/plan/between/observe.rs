//! The role that keeps what is measured: last up, so that it delays nothing, and last down, so that it sees the rest go.

use super::Planner;
use crate::plan::Step;

impl Planner<'_> {
    pub(super) fn observe(&mut self) {
        match (self.at.observe.clone(), self.desired.observe.clone()) {
            (None, Some(to)) => self.push(Step::StartObserve(to)),
            (Some(from), None) => self.push(Step::StopObserve(from)),
            // One that is to listen elsewhere is another one.
            (Some(from), Some(to)) if from.port != to.port => {
                self.push(Step::StopObserve(from));
                self.push(Step::StartObserve(to));
            }
            (Some(from), Some(to)) if from != to => self.push(Step::ConfigureObserve { from, to }),
            _ => {}
        }
    }
}
