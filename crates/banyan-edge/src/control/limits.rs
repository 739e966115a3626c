//! With whom rate limits are counted: read from the snapshot and the file of secrets that the controller writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::{CountLimits, RedisAddress};
use banyan_topology::snapshot::LIMITS_URL;

use super::Control;
use crate::core::command::Command;
use crate::filter::together::Terms;

/// What cores were told, and what they tell.
pub(super) struct Limits {
    deadline: Duration,
    terms: Option<Arc<Terms>>,
    /// Why Redis does not count, by core.
    alone: BTreeMap<usize, String>,
}

impl Limits {
    /// `deadline`: as long as a request waits for Redis.
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            deadline,
            terms: None,
            alone: BTreeMap::new(),
        }
    }

    /// Why at least one core counts alone.
    pub(super) fn report(&self) -> Option<String> {
        let unknown = || self.terms.as_ref()?.at.as_ref().err();
        self.alone.values().next().or_else(unknown).cloned()
    }
}

impl Control {
    /// Tells cores when another Redis counts, or none.
    pub(super) fn look_at_limits(&mut self) {
        let terms = self.terms();
        if terms.as_ref() == self.limits.terms.as_deref() {
            return;
        }
        if let Some(Terms { at: Err(why), .. }) = &terms {
            tracing::warn!(why, "rate limits are counted alone, by this edge's share");
        }
        let terms = terms.map(Arc::new);
        self.limits = Limits {
            terms: terms.clone(),
            ..Limits::new(self.limits.deadline)
        };
        self.tell_all(|| Command::CountLimits(terms.clone()));
    }

    /// `None`: this edge counts for itself.
    fn terms(&self) -> Option<Terms> {
        (self.snapshot.settings.count_limits == CountLimits::Redis).then(|| Terms {
            app: self.snapshot.app.to_string(),
            edges: u32::try_from(self.snapshot.places.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1),
            at: address(&self.secrets.join(LIMITS_URL)),
            deadline: self.limits.deadline,
        })
    }

    /// One line in the log when it begins and one when it is over, however many cores there are.
    pub(super) fn note_counts(&mut self, core: usize, problem: Option<String>) {
        let alone = &mut self.limits.alone;
        let before = alone.len();
        match problem {
            Some(why) => {
                if before == 0 {
                    tracing::warn!(
                        why,
                        "the Redis of [sessions] does not count rate limits: counted alone, by this edge's share"
                    );
                }
                alone.insert(core, why);
            }
            None => {
                alone.remove(&core);
                if before > 0 && alone.is_empty() {
                    tracing::info!("rate limits are counted with the other edges again");
                }
            }
        }
    }
}

fn address(path: &Path) -> Result<RedisAddress, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "the address of Redis cannot be read ({}): {error}",
            path.display()
        )
    })?;
    RedisAddress::parse(text.trim())
        .map_err(|error| format!("{} is not the address of a Redis: {error}", path.display()))
}
