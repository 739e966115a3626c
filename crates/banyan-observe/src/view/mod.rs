//! The system as it is now, as the dashboard and `banyan top` show it: made of what was measured, purely.
//!
//! Parts are what runs or should; flows are what goes between them. What is wrong is said first, in words.

mod alerts;
mod figures;
mod parts;
mod troubles;

use banyan_topology::signals::Signals;
use banyan_topology::snapshot::ObserveSnapshot;
use serde::{Deserialize, Serialize};

use crate::alert::Shown;
use crate::marks::Mark;

pub use figures::Figures;
pub(crate) use parts::{node_child, resources};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    pub app: String,
    pub release: Option<String>,
    pub version: String,
    /// Unix ms of the newest figures; `None`: there are none yet.
    pub at_ms: Option<u64>,
    /// Worst first; empty: nothing is wrong.
    pub troubles: Vec<Trouble>,
    /// What fires, most urgent first, muted ones last.
    #[serde(default)]
    pub alerts: Vec<Firing>,
    pub total: Red,
    pub parts: Vec<Part>,
    pub flows: Vec<Flow>,
    /// Most requests first.
    pub routes: Vec<Red>,
    pub resources: Vec<Resource>,
    /// Most work first.
    pub queries: Vec<Query>,
    pub caches: Vec<Cache>,
    /// What was done and what happened, oldest first.
    pub marks: Vec<Mark>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub level: Level,
    /// "web.2@r3 does not answer"
    pub what: String,
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// [`Level::Unknown`]: it is muted.
    pub level: Level,
    /// "P0"
    pub severity: String,
    /// "replica-lag"
    pub rule: String,
    /// "node=db2"; empty: the whole.
    pub subject: String,
    /// "a replica is far behind (7.5 s)"
    pub what: String,
    /// Unix ms.
    pub since_ms: u64,
    /// Why nobody is told: "silenced: moving db2", "muted by no-primary".
    pub muted: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    #[default]
    Fine,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Bad,
    /// It was not measured.
    Unknown,
}

/// Rate, errors, durations: of a route, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Red {
    pub name: String,
    pub per_second: Option<f64>,
    /// Of 5xx, 0 to 1; `None` without requests.
    pub error_share: Option<f64>,
    pub p50_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
    pub active: Option<f64>,
}

/// A box of the map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub id: String,
    pub lane: Lane,
    pub kind: String,
    pub level: Level,
    /// What it is or does, in a few words: "ready", "not ready", "primary".
    pub says: String,
    pub per_second: Option<f64>,
    /// Processors in use.
    pub cpu: Option<f64>,
    pub memory_bytes: Option<f64>,
}

/// From left to right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    Edge,
    #[default]
    App,
    /// What instances talk to.
    Beside,
    Data,
}

/// An arrow of the map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    pub from: String,
    pub to: String,
    pub per_second: Option<f64>,
    pub level: Level,
}

/// Utilisation, saturation, errors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// As metrics call it: `host.cores`.
    #[serde(default)]
    pub id: String,
    pub name: String,
    /// 0 to 1; `None`: it has no end.
    pub used: Option<f64>,
    /// What is used, in words.
    pub says: String,
    /// What waits for it, in words.
    pub waits: Option<String>,
    pub level: Level,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Query {
    pub id: String,
    pub statement: String,
    pub per_second: f64,
    /// Connections that it keeps busy.
    pub load: f64,
    pub p99_seconds: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    pub name: String,
    /// 0 to 1; `None`: nothing was asked.
    pub hit_ratio: Option<f64>,
    pub per_second: Option<f64>,
}

/// `figures`: of the last seconds; `signals`: what the PostgreSQL proxy tells, if there is one; `shown`: what fires.
pub fn view(
    snapshot: &ObserveSnapshot,
    figures: &Figures<'_>,
    signals: Option<&Signals>,
    shown: &Shown,
    marks: Vec<Mark>,
) -> View {
    let layout = &snapshot.layout;
    let parts = parts::parts(layout, figures);
    let resources = parts::resources(figures);
    let mut routes = figures.routes();
    let order = |red: &Red| red.per_second.unwrap_or(0.0);
    routes.sort_by(|a, b| order(b).total_cmp(&order(a)).then_with(|| a.name.cmp(&b.name)));
    let total = figures.all_routes();
    View {
        app: snapshot.app.to_string(),
        release: layout.release.map(|release| release.to_string()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: figures.at_ms(),
        troubles: troubles::troubles(alerts::troubles(shown), &parts, &resources, &total, figures),
        alerts: alerts::firing(shown),
        flows: parts::flows(layout, &parts, figures),
        parts,
        total,
        routes,
        resources,
        queries: signals.map(queries).unwrap_or_default(),
        caches: figures.caches(),
        marks,
    }
}

/// The eight that make most work now.
fn queries(signals: &Signals) -> Vec<Query> {
    let mut all: Vec<&_> = signals.statements.iter().collect();
    all.sort_by(|a, b| b.recent.load.total_cmp(&a.recent.load));
    let busy = all
        .into_iter()
        .filter(|statement| statement.recent.calls_per_second > 0.0);
    let query = |statement: &banyan_topology::signals::StatementSignal| Query {
        id: statement.id.clone(),
        statement: statement.statement.clone(),
        per_second: statement.recent.calls_per_second,
        load: statement.recent.load,
        p99_seconds: statement.recent.p99_us.map(|us| us as f64 / 1e6),
    };
    busy.take(8).map(query).collect()
}

#[cfg(test)]
mod tests;
