//! What a person does not want to hear of for a while.

use std::time::Duration;

use banyan_config::AlertRule;
use serde::{Deserialize, Serialize};

/// The rule is judged and noted all the same; nobody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// `None`: all rules.
    pub rule: Option<AlertRule>,
    pub from_ms: u64,
    pub until_ms: u64,
    pub why: String,
}

/// At most one of each rule, and one of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Silences(Vec<Silence>);

impl Silences {
    /// Takes the place of the rule's own one.
    pub fn add(&mut self, silence: Silence) {
        self.remove(silence.rule);
        self.0.push(silence);
    }

    /// False: there was none.
    pub fn remove(&mut self, rule: Option<AlertRule>) -> bool {
        let before = self.0.len();
        self.0.retain(|silence| silence.rule != rule);
        self.0.len() < before
    }

    /// Those that hold.
    pub fn at(&self, now: Duration) -> impl Iterator<Item = &Silence> {
        self.0.iter().filter(move |silence| silence.holds(now))
    }

    /// Forgets what is over.
    pub fn tidy(&mut self, now: Duration) {
        self.0
            .retain(|silence| u128::from(silence.until_ms) > now.as_millis());
    }

    pub(crate) fn of(&self, rule: AlertRule, now: Duration) -> Option<&Silence> {
        self.at(now)
            .find(|silence| silence.rule.is_none_or(|of| of == rule))
    }
}

impl Silence {
    fn holds(&self, now: Duration) -> bool {
        let now = now.as_millis();
        u128::from(self.from_ms) <= now && now < u128::from(self.until_ms)
    }
}
