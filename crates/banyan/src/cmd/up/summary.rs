//! What `up` says once it serves: where, what, since how long, and what to try next.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_reconcile::proto::{Row, Status};
use serde::{Deserialize, Serialize};

use crate::render::amount::took;
use crate::render::paint::Paint;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) status: Status,
    /// `None`: nothing answered, or there is no edge.
    pub(crate) answered: Option<Answered>,
    /// How a command begins that means this installation.
    pub(crate) banyan: String,
}

/// The first answer through the edge.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) code: u16,
    /// Since `up` began.
    pub(crate) took: Duration,
}

impl Summary {
    /// `stop`: what a person does to stop it.
    pub(crate) fn render(&self, stop: &str, paint: Paint) -> String {
        let mut out = String::from("\n");
        out.push_str(&self.headline(paint));
        out.push('\n');
        out.push_str(&self.map(paint));
        let mut pair =
            |name: &str, text: &str| out.push_str(&format!("  {:<7}{text}\n", format!("{name:<6}")));
        pair("logs", &self.status.log_dir.display().to_string());
        pair("state", &self.status.state_dir.display().to_string());
        let banyan = &self.banyan;
        let tries = [
            (format!("{banyan} status"), "what runs where"),
            (format!("{banyan} logs -f"), "what it says"),
            (
                format!("{banyan} deploy"),
                "roll out a new version, no failed request",
            ),
            (stop.to_owned(), "stop everything in order"),
        ];
        let width = tries
            .iter()
            .map(|(command, _)| command.chars().count())
            .max()
            .unwrap_or(0);
        out.push('\n');
        for (index, (command, why)) in tries.iter().enumerate() {
            let head = if index == 0 { "try" } else { "" };
            let command = paint.bold(&format!("{command:<width$}"));
            out.push_str(&format!("  {head:<7}{command}  {}\n", paint.dim(why)));
        }
        out
    }

    fn headline(&self, paint: Paint) -> String {
        let name = paint.bold(&self.status.app);
        let at = match &self.status.url {
            Some(url) => format!("{name} is up at {}", paint.cyan(url)),
            None => format!("{name} is up"),
        };
        match (&self.answered, &self.status.edge) {
            (Some(answered), _) => {
                let code = answered.code.to_string();
                format!(
                    "{at}  first {} through the edge after {}\n",
                    paint.green(&code),
                    took(answered.took)
                )
            }
            (None, Some(_)) => format!("{at}  {}\n", paint.yellow("but GET / has not been answered yet")),
            (None, None) => format!("{at}\n"),
        }
    }

    /// edge → web × 2 → pgproxy → postgres, a line each; processes without traffic beside it.
    fn map(&self, paint: Paint) -> String {
        let proxies = self.rows(is_proxy);
        let engines = self.rows(is_engine);
        let edge = self.status.edge.as_ref();
        let mut processes: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in &self.status.children {
            let kind = row.kind.as_str();
            if kind != "edge" && ![is_proxy, is_engine, is_redis].iter().any(|is| is(kind)) {
                processes.entry(&row.kind).or_default().push(row);
            }
        }
        let mut lines: Vec<(usize, String, String)> = Vec::new();
        let mut depth = 0;
        if let Some(edge) = edge {
            let addresses: Vec<String> = edge.addresses().map(|address| address.to_string()).collect();
            lines.push((depth, "edge".to_owned(), addresses.join(", ")));
            depth += 1;
            if let Some(rows) = processes.remove(edge.process.as_str()) {
                let release = self
                    .status
                    .release
                    .map(|r| format!("release {r}"))
                    .unwrap_or_default();
                let detail = [ports(&rows), release]
                    .iter()
                    .filter(|part| !part.is_empty())
                    .cloned()
                    .collect::<Vec<_>>();
                lines.push((depth, named(edge.process.as_str(), &rows), detail.join(", ")));
                depth += 1;
            }
        }
        for row in self.rows(is_redis) {
            lines.push((depth, row.kind.clone(), ports(&[row])));
        }
        for row in proxies {
            lines.push((depth, "pgproxy".to_owned(), ports(&[row])));
            depth += 1;
        }
        for row in engines {
            lines.push((depth, row.kind.clone(), ports(&[row])));
        }
        for (kind, rows) in processes {
            lines.push((0, named(kind, &rows), String::new()));
        }
        let width = lines
            .iter()
            .map(|(depth, name, _)| 3 * depth + name.chars().count())
            .max()
            .unwrap_or(0);
        let mut out = String::new();
        for (depth, name, detail) in lines {
            let indent = if depth == 0 {
                String::new()
            } else {
                "   ".repeat(depth - 1) + "└─ "
            };
            let pad = " ".repeat(width - 3 * depth - name.chars().count());
            out.push_str(format!("  {}{name}{pad}  {}", paint.dim(&indent), paint.dim(&detail)).trim_end());
            out.push('\n');
        }
        out + "\n"
    }

    fn rows(&self, wanted: impl Fn(&str) -> bool) -> Vec<&Row> {
        self.status
            .children
            .iter()
            .filter(|row| wanted(&row.kind))
            .collect()
    }
}

fn is_proxy(kind: &str) -> bool {
    kind.starts_with("pgproxy")
}

fn is_engine(kind: &str) -> bool {
    kind.starts_with("postgres")
}

fn is_redis(kind: &str) -> bool {
    kind.starts_with("redis ")
}

fn named(kind: &str, rows: &[&Row]) -> String {
    format!("{kind} × {}", rows.len())
}

fn ports(rows: &[&Row]) -> String {
    let ports: Vec<String> = rows
        .iter()
        .filter_map(|row| row.child.port)
        .map(|port| port.to_string())
        .collect();
    match ports.len() {
        0 => String::new(),
        1 => format!("port {}", ports[0]),
        _ => format!("ports {}", ports.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn row(id: &str, kind: &str, port: Option<u16>) -> serde_json::Value {
        serde_json::json!({"id": id, "state": "ready", "pid": 1, "since_ms": 0, "restarts": 0, "memory_bytes": 0,
            "cpu_ms": 0, "port": port, "user": null, "kind": kind, "in_rotation": null, "healthy": null,
            "rps": null, "in_flight": null})
    }

    #[test]
    fn it_shows_the_way_of_a_request_and_what_to_try() {
        let status = serde_json::from_value(serde_json::json!({
            "app": "photos", "controller_pid": 4000, "release": 1, "url": "http://127.0.0.1:8080",
            "edge": null, "epoch": 3, "rps": null, "error_share": null,
            "children": [row("postgres", "postgres 15", Some(21000)), row("web.1@r1", "web", Some(20000)),
                         row("web.2@r1", "web", Some(20001)), row("worker.1@r1", "worker", Some(20002))],
            "edge_report": null, "unfinished": null, "rotation": [],
            "state_dir": "/srv/photos/.banyan", "log_dir": "/srv/photos/.banyan/logs",
        }))
        .unwrap();
        let answered = Some(Answered {
            code: 200,
            took: Duration::from_millis(3456),
        });
        let summary = Summary {
            status,
            answered,
            banyan: "banyan".to_owned(),
        };
        expect![[r#"

            photos is up at http://127.0.0.1:8080  first 200 through the edge after 3.4 s

              postgres 15  port 21000
              web × 2
              worker × 1

              logs   /srv/photos/.banyan/logs
              state  /srv/photos/.banyan

              try    banyan status   what runs where
                     banyan logs -f  what it says
                     banyan deploy   roll out a new version, no failed request
                     Ctrl-C          stop everything in order
        "#]]
        .assert_eq(&summary.render("Ctrl-C", Paint::OFF));
    }
}
