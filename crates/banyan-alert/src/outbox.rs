//! Who is still to be told of what: bounded, tried again with growing pauses, given up after an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_config::AlertReceiver;
use serde::{Deserialize, Serialize};

use crate::evaluate::{State, Transition};

/// More are not kept: the oldest goes.
const MOST: usize = 500;
const FIRST_PAUSE_MS: u64 = 2_000;
const LONGEST_PAUSE_MS: u64 = 5 * 60_000;
const GIVEN_UP: Duration = Duration::from_secs(3600);

/// To be kept across restarts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outbox {
    next: u64,
    notices: Vec<Notice>,
    /// When each receiver was told last of what still fires.
    #[serde(default)]
    repeated_ms: BTreeMap<String, u64>,
    /// Thrown away because there were too many, or nobody took them for an hour.
    pub lost: u64,
}

/// One receiver is to be told of one change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub id: u64,
    pub to: String,
    pub transition: Transition,
    pub since_ms: u64,
    pub tries: u32,
    pub next_ms: u64,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// To be done now: changes for one receiver, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub to: String,
    pub notices: Vec<Notice>,
}

impl Outbox {
    /// What people are to be told of, for those who want it.
    pub fn take(&mut self, transitions: &[Transition], to: &BTreeMap<String, AlertReceiver>) {
        for transition in transitions.iter().filter(|transition| transition.tell) {
            let severity = transition.alert.severity.name();
            for (name, _) in to.iter().filter(|(_, receiver)| receiver.wants(severity)) {
                self.push(name, transition.clone());
            }
        }
    }

    /// Those who want to hear again of what still fires.
    pub fn repeat(&mut self, state: &State, to: &BTreeMap<String, AlertReceiver>, now: Duration) {
        let now = ms(now);
        for (name, receiver) in to {
            let Some(every) = receiver.repeat else { continue };
            for alert in state
                .firing()
                .filter(|alert| alert.told && receiver.wants(alert.severity.name()))
            {
                let key = format!("{name} {} {}", alert.rule, alert.subject());
                let last = self.repeated_ms.entry(key).or_insert(now);
                if now.saturating_sub(*last) >= ms(every) {
                    *last = now;
                    let transition = Transition::still(alert, now);
                    self.push(name, transition);
                }
            }
        }
        let known = |key: &String| {
            state
                .firing()
                .any(|alert| key.ends_with(&format!(" {} {}", alert.rule, alert.subject())))
        };
        self.repeated_ms.retain(|key, _| known(key));
    }

    fn push(&mut self, to: &str, transition: Transition) {
        if self.notices.len() >= MOST {
            self.notices.remove(0);
            self.lost += 1;
        }
        self.next += 1;
        let at = transition.at_ms;
        self.notices.push(Notice {
            id: self.next,
            to: to.to_owned(),
            transition,
            since_ms: at,
            tries: 0,
            next_ms: at,
            problem: None,
        });
    }

    /// What is to be tried now, in order of each receiver: nothing overtakes what waits for its next try.
    pub fn due(&mut self, now: Duration) -> Vec<Attempt> {
        let now = ms(now);
        let old = |notice: &Notice| now.saturating_sub(notice.since_ms) >= ms(GIVEN_UP);
        self.lost += self.notices.iter().filter(|notice| old(notice)).count() as u64;
        self.notices.retain(|notice| !old(notice));
        let mut attempts: BTreeMap<&str, Vec<Notice>> = BTreeMap::new();
        for notice in &self.notices {
            attempts.entry(&notice.to).or_default().push(notice.clone());
        }
        let ready = attempts
            .into_iter()
            .filter(|(_, notices)| notices[0].next_ms <= now);
        ready
            .map(|(to, notices)| Attempt {
                to: to.to_owned(),
                notices,
            })
            .collect()
    }

    /// When something is to be tried next, since 1970.
    pub fn next(&self) -> Option<Duration> {
        let mut first: BTreeMap<&str, u64> = BTreeMap::new();
        for notice in &self.notices {
            first.entry(&notice.to).or_insert(notice.next_ms);
        }
        first.into_values().min().map(Duration::from_millis)
    }

    /// The receiver has taken all of an attempt.
    pub fn done(&mut self, attempt: &Attempt) {
        self.notices.retain(|notice| !attempt.has(notice));
    }

    /// It has not: the pause doubles.
    pub fn failed(&mut self, attempt: &Attempt, why: &str, now: Duration) {
        for notice in self.notices.iter_mut().filter(|notice| attempt.has(notice)) {
            notice.tries += 1;
            let pause = FIRST_PAUSE_MS.saturating_mul(1 << notice.tries.saturating_sub(1).min(16));
            notice.next_ms = ms(now) + pause.min(LONGEST_PAUSE_MS);
            notice.problem = Some(why.to_owned());
        }
    }

    /// Receivers that could not be told, with why.
    pub fn problems(&self) -> BTreeMap<String, String> {
        let failed = self
            .notices
            .iter()
            .filter_map(|notice| Some((notice.to.clone(), notice.problem.clone()?)));
        failed.collect()
    }

    /// Those who are not to be told of anything any more.
    pub fn keep_only(&mut self, to: &BTreeMap<String, AlertReceiver>) {
        self.notices.retain(|notice| to.contains_key(&notice.to));
    }
}

impl Attempt {
    fn has(&self, notice: &Notice) -> bool {
        self.notices.iter().any(|ours| ours.id == notice.id)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
