//! Where on the ladder a topology stands, as a small map for people.

use crate::id::{NodeId, ProcessName};
use crate::model::{Database, Topology};

/// For example `edge 127.0.0.1:8080 → web ×3 → postgres 15`; processes beside the path of a request get a line each.
pub fn map(topology: &Topology) -> String {
    if topology.is_stopped() {
        return "nothing runs".to_owned();
    }
    let edge = topology
        .edge
        .as_ref()
        .map(|edge| format!("edge {} → ", edge.listen))
        .unwrap_or_default();
    let database = topology
        .database
        .as_ref()
        .map(|database| servers(database, topology.pgproxy.is_some()));
    let boxes = boxes(topology);
    if boxes.is_empty() {
        return [
            edge.trim_end_matches(" → ").to_owned(),
            database.unwrap_or_default(),
        ]
        .join("  ")
        .trim()
        .to_owned();
    }
    let indent = " ".repeat(edge.chars().count());
    let width = boxes.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let line = |(n, text): (usize, &String)| {
        let left = if n == 0 { &edge } else { &indent };
        let right = match &database {
            Some(name) => format!(" {}", branch(n, boxes.len(), name)),
            None => String::new(),
        };
        format!("{left}{text:width$}{right}").trim_end().to_owned()
    };
    let lines = boxes.iter().enumerate().map(line);
    lines.chain(beside(topology)).collect::<Vec<_>>().join("\n")
}

/// `redis for sessions, redis for cache`
fn beside(topology: &Topology) -> Option<String> {
    let redis = topology
        .redis
        .keys()
        .map(|purpose| format!("redis for {purpose}"));
    let all: Vec<String> = redis.collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// `pgproxy → postgres 15 db1 + db2 + db3`: the primary first.
fn servers(database: &Database, proxied: bool) -> String {
    let proxy = if proxied { "pgproxy → " } else { "" };
    let mut text = format!("{proxy}postgres {}", database.version);
    if !database.is_alone() || database.primary != NodeId::FIRST {
        text = format!("{text} {}", database.primary);
    }
    for replica in database.replicas() {
        text = format!("{text} + {}", replica.id);
    }
    text
}

fn branch(line: usize, of: usize, name: &str) -> String {
    match line {
        0 if of == 1 => format!("→ {name}"),
        0 => format!("┬→ {name}"),
        _ if line + 1 == of => "┘".to_owned(),
        _ => "┤".to_owned(),
    }
}

/// `web ×3`, the edge's process first.
fn boxes(topology: &Topology) -> Vec<String> {
    let served = topology.edge.as_ref().map(|edge| &edge.process);
    let mut names: Vec<&ProcessName> = topology.processes.keys().collect();
    names.sort_by_key(|name| (Some(*name) != served, *name));
    names
        .iter()
        .map(|name| format!("{name} ×{}", topology.running(name)))
        .collect()
}
