//! `waf`: a small rule set against what scanners and scripts send.

use serde::{Deserialize, Serialize};

use crate::keys::WAF_KEYS;
use crate::nearest::nearest;
use crate::read::Reader;
use crate::report::Report;
use crate::tree::Value;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waf {
    pub mode: WafMode,
    /// Ids of rules that are not asked; of [`WAF_RULES`].
    pub except: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WafMode {
    /// Hits are counted and logged.
    Log,
    /// And refused.
    Block,
}

/// That there are (docs/waf.md).
pub const WAF_RULES: [&str; 17] = [
    "W101", "W102", "W103", "W110", "W111", "W201", "W202", "W203", "W204", "W301", "W401", "W402", "W403",
    "W404", "W405", "W501", "W502",
];

impl WafMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Block => "block",
        }
    }
}

impl Waf {
    pub(super) fn words(&self) -> String {
        let what = match self.mode {
            WafMode::Log => "requests that look like attacks are logged",
            WafMode::Block => "requests that look like attacks are refused",
        };
        if self.except.is_empty() {
            return what.to_owned();
        }
        format!("{what}, but for rule {}", self.except.join(", "))
    }
}

pub(super) fn build(table: &Reader<'_>, inherited: Option<&Waf>, report: &Report) -> Option<Waf> {
    let Some(entry) = table.entry("waf") else {
        return inherited.cloned();
    };
    let tables = table.tables("waf");
    if let [_, second, ..] = tables.as_slice() {
        let help = "put all exceptions into one list";
        report.error(&second.place, "`waf` is one table", &[help]);
    }
    let (mode, read) = match &entry.node.value {
        Value::Text(word) if word != "off" => (word.clone(), Reader::new(&[], WAF_KEYS)),
        _ => {
            let read = tables.into_iter().next()?.value;
            (read.text_or_default("mode"), read)
        }
    };
    for id in read.texts("except") {
        if WAF_RULES.contains(&id.value.as_str()) {
            continue;
        }
        let help = match nearest(&id.value, WAF_RULES) {
            Some(near) => format!("did you mean \"{near}\"? docs/waf.md lists them"),
            None => "docs/waf.md lists them".to_owned(),
        };
        report.error(&id.place, format!("there is no rule {}", id.value), &[&help]);
    }
    Some(Waf {
        mode: if mode == "block" {
            WafMode::Block
        } else {
            WafMode::Log
        },
        except: read.words("except"),
    })
}
