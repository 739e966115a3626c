//! What the controller knows, as every process of the machine tells what it measures: children, instances, scaling, Redis.
//!
//! One task, on a unix socket in `.banyan/metrics/`: who connects is told everything, once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use banyan_runtime::control::{self, Listener};
use banyan_supervisor::child::ChildState;
use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};

use super::Handle;
use crate::proto::{Row, Status};
use crate::redis;

/// Ends with the controller.
pub(super) async fn serve(folder: PathBuf, handle: Handle) {
    let path = folder.join(format!("controller-{}.sock", std::process::id()));
    let bound = std::fs::create_dir_all(&folder).map_err(|error| error.to_string());
    match bound.and_then(|()| Listener::bind(&path).map_err(|error| error.to_string())) {
        Ok(listener) => {
            let say = async || Some(families(&handle.status().await?));
            control::tell(&listener, "metrics of the controller", say).await;
        }
        Err(why) => tracing::warn!(why, "what the controller knows is on no page of metrics"),
    }
}

fn families(status: &Status) -> Families {
    let mut all = redis::families(&status.redis);
    of_children(&mut all, &status.children);
    of_instances(&mut all, status);
    of_scaling(&mut all, status);
    all
}

#[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
fn of_children(all: &mut Families, rows: &[Row]) {
    let labels = |row: &'_ Row| [("child", row.child.id.0.clone()), ("kind", row.kind.clone())];
    let mut numbers = |kind, name, help, read: fn(&Row) -> Option<f64>| {
        let mut family = all.family(kind, name, help);
        for row in rows {
            if let Some(value) = read(row) {
                let [child, of] = labels(row);
                family.number(&[(child.0, &child.1), (of.0, &of.1)], value);
            }
        }
    };
    let up = "1: the process of Banyan's runs and is ready.";
    numbers(Gauge, "banyan_child_up", up, |row| {
        Some(f64::from(u8::from(row.child.state == ChildState::Ready)))
    });
    numbers(
        Gauge,
        "banyan_child_pid",
        "Its process; absent: there is none.",
        |row| row.child.pid.map(f64::from),
    );
    let restarts = "How often it was started again after it had ended by itself.";
    numbers(Counter, "banyan_child_restarts_total", restarts, |row| {
        Some(f64::from(row.child.restarts))
    });
    let memory = "Resident memory of its processes.";
    numbers(Gauge, "banyan_child_memory_bytes", memory, |row| {
        row.child.memory_bytes.map(|bytes| bytes as f64)
    });
    let cpu = "Processor time of its processes, user and system.";
    numbers(Counter, "banyan_child_cpu_seconds_total", cpu, |row| {
        row.child.cpu_ms.map(|ms| ms as f64 / 1000.0)
    });
}

/// What an instance is, in one word.
fn state(row: &Row) -> &'static str {
    match (&row.child.state, row.in_rotation) {
        (ChildState::Ready, Some(true) | None) if row.healthy != Some(false) => "serving",
        (ChildState::Ready, Some(true) | None) => "unhealthy",
        (ChildState::Ready | ChildState::Stopping, _) => "draining",
        (ChildState::Starting, _) => "starting",
        _ => "failed",
    }
}

fn of_instances(all: &mut Families, status: &Status) {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    // An instance is named by process, slot and release; nothing else has a release.
    for row in status.children.iter().filter(|row| row.child.id.0.contains("@r")) {
        *counts.entry((&row.kind, state(row))).or_default() += 1;
    }
    let help = "Instances of a process of the app, by what they are.";
    let mut family = all.family(Gauge, "banyan_instances", help);
    for ((group, state), count) in counts {
        family.count(&[("group", group), ("state", state)], count);
    }
}

fn of_scaling(all: &mut Families, status: &Status) {
    let Some(autoscale) = &status.autoscale else {
        return;
    };
    let help = "How many instances there should be for the load.";
    let mut family = all.family(Gauge, "banyan_desired_instances", help);
    for scaled in &autoscale.processes {
        if let Some(want) = scaled.want {
            family.count(&[("group", scaled.process.as_str())], u64::from(want));
        }
    }
}

#[cfg(test)]
mod tests {
    use banyan_telemetry::families::Format;

    use super::*;

    fn status(children: serde_json::Value) -> Status {
        let status = serde_json::json!({
            "app": "shop", "controller_pid": 1, "release": 3, "url": null, "edge": null, "epoch": 1,
            "children": children, "edge_report": null, "rps": null, "error_share": null, "unfinished": null,
            "rotation": [], "state_dir": "/s", "log_dir": "/s/logs",
        });
        serde_json::from_value(status).unwrap()
    }

    fn child(id: &str, state: &str, in_rotation: Option<bool>) -> serde_json::Value {
        serde_json::json!({
            "id": id, "state": state, "pid": 7, "since_ms": 0, "restarts": 2, "memory_bytes": 4096, "cpu_ms": 1500,
            "port": null, "user": null, "kind": id.split('.').next().unwrap(), "in_rotation": in_rotation, "healthy": null,
            "rps": null, "in_flight": null,
        })
    }

    #[test]
    fn every_child_has_its_figures_and_instances_are_counted_by_what_they_are() {
        let page = families(&status(serde_json::json!([
            child("edge", "ready", None),
            child("web.1@r3", "ready", Some(true)),
            child("web.2@r3", "ready", Some(true)),
            child("web.3@r3", "starting", Some(false)),
        ])));
        let page = page.render(Format::Prometheus);
        for line in [
            "banyan_child_up{child=\"edge\",kind=\"edge\"} 1",
            "banyan_child_up{child=\"web.3@r3\",kind=\"web\"} 0",
            "banyan_child_restarts_total{child=\"edge\",kind=\"edge\"} 2",
            "banyan_child_cpu_seconds_total{child=\"edge\",kind=\"edge\"} 1.5",
            "banyan_instances{group=\"web\",state=\"serving\"} 2",
            "banyan_instances{group=\"web\",state=\"starting\"} 1",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
    }
}
