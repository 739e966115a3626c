//! What rules against attacks have met; nothing is told of a rule before the first.

use std::collections::BTreeMap;

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::Counter;

use super::Control;
use crate::filter::WAF_RULES;

impl Control {
    pub(super) fn of_attacks(&self, all: &mut Families) {
        // A rule may look at several parts.
        let mut met: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for core in &self.cores {
            for (rule, counts) in WAF_RULES.iter().zip(&core.metrics.waf) {
                for (action, count) in ["logged", "blocked"].into_iter().zip(counts) {
                    *met.entry((rule.id, action)).or_default() += count.get();
                }
            }
        }
        met.retain(|_, count| *count > 0);
        if met.is_empty() {
            return;
        }
        let help = "Requests that met a rule against attacks, and whether they were refused.";
        let mut family = all.family(Counter, "banyan_edge_waf_total", help);
        for ((rule, action), count) in met {
            family.count(&[("rule", rule), ("action", action)], count);
        }
    }
}
