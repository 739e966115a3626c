//! When somebody is to be told, decided: no tasks, no files, no clock; times and measurements are handed in.
//!
//! [`rules`] makes the rules of a configuration, [`evaluate`] judges them over what is kept of the metrics ([`Series`]) and
//! says what changed, [`Outbox`] says what is to be delivered when. [`export`] writes the same rules for Prometheus,
//! Alertmanager and Grafana.
//!
//! Times are since 1970. What was not measured is missing and never zero: it fires nothing but the rule that is about it.

mod catalogue;
mod evaluate;
pub mod export;
mod judge;
mod kept;
mod outbox;
mod rule;
mod samples;
mod series;
mod silence;

pub use catalogue::rules;
pub use evaluate::{Alert, Change, Muted, Phase, State, Transition, Why, evaluate};
pub use judge::{Finding, Verdict, judge};
pub use kept::Kept;
pub use outbox::{Attempt, Notice, Outbox};
pub use rule::{Area, Condition, Match, Measure, Rule, Select, Severity, Wanted};
pub use samples::Samples;
pub use series::{Distribution, Labels, Point, Series};
pub use silence::{Silence, Silences};
