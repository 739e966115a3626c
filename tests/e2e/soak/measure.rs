//! What the edge holds: memory and descriptors between changes, connections when the load has gone.

use std::fmt;
use std::fs;

use banyan_testkit::exposition::Page;
use banyan_testkit::wait;

use super::LIMIT;
use super::site::Site;

/// Memory of an edge's end against that of its beginning: what the allocator keeps for later is not a leak.
const FACTOR: f64 = 1.5;
const SLACK_KIB: u64 = 12 * 1024;
/// Descriptors that come and go with connections.
const SLACK_FILES: usize = 200;

#[derive(Clone, Copy, Debug)]
struct Sample {
    pid: u64,
    memory_kib: u64,
    files: usize,
}

/// After each change.
#[derive(Default)]
pub(super) struct Measured(Vec<Sample>);

impl Measured {
    pub(super) async fn take(&mut self, site: &Site) {
        let status = site.installation.status().await;
        let rows = status["children"].as_array().cloned().unwrap_or_default();
        let edge = rows.iter().find(|row| row["kind"] == "edge").expect("an edge");
        let pid = edge["pid"].as_u64().expect("the edge runs");
        // It may end while it is looked at: then its successor is next.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            return;
        };
        let memory = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        let files = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.0.push(Sample {
            pid,
            memory_kib: memory.expect("the kernel says how much memory it has"),
            files,
        });
    }

    /// Of the last edge process: its end, after the load, against its beginning under it.
    pub(super) fn assert_flat(&self) {
        let last = self.0.last().expect("something was measured");
        let mut same = self.0.iter().filter(|sample| sample.pid == last.pid);
        let first = same.next().expect("the last one is among them");
        #[expect(clippy::cast_precision_loss, reason = "kibibytes of one process")]
        let most = first.memory_kib as f64 * FACTOR + SLACK_KIB as f64;
        #[expect(clippy::cast_precision_loss, reason = "kibibytes of one process")]
        let now = last.memory_kib as f64;
        assert!(now <= most, "memory grew from {first:?} to {last:?}\n{self}");
        assert!(
            last.files <= first.files + SLACK_FILES,
            "{first:?} to {last:?}\n{self}"
        );
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the edge's own memory in MiB and open files, after each change:"
        )?;
        let mut before = 0;
        for sample in &self.0 {
            if sample.pid != before {
                write!(f, "\n  process {}:", sample.pid)?;
            }
            before = sample.pid;
            write!(f, " {}/{}", sample.memory_kib / 1024, sample.files)?;
        }
        Ok(())
    }
}

/// The page of metrics under load is well formed, and has what every kind of visitor did.
pub(super) fn is_sound(text: &str) {
    let page = Page::prometheus(text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    let positive = |name: &str, labels: &[&str]| {
        assert!(page.sum(name, labels) > 0.0, "{name} {labels:?}\n{text}");
    };
    for version in ["1", "2"] {
        let version = format!("network_protocol_version=\"{version}\"");
        positive(
            "banyan_edge_listener_requests_total",
            &["url_scheme=\"https\"", &version],
        );
    }
    positive("banyan_edge_tls_handshakes_total", &[]);
    positive("banyan_edge_upgrades_total", &[]);
    positive(
        "banyan_edge_endpoint_responses_total",
        &["http_response_status_code=\"2xx\""],
    );
    positive("process_resident_memory_bytes", &["role=\"edge\""]);
}

/// When all visitors are gone, the edge counts no connection, no request and nothing that passes through it.
pub(super) async fn nothing_is_open(site: &Site) {
    const COUNTS: [&str; 4] = [
        "banyan_edge_listener_open_connections",
        "banyan_edge_listener_active_requests",
        "banyan_edge_endpoint_active_requests",
        "http_server_active_requests",
    ];
    let zero = async || {
        let text = site.metrics().await;
        let page = Page::prometheus(&text).expect("a sound page");
        let open: Vec<String> = COUNTS
            .iter()
            .flat_map(|name| {
                page.each(name)
                    .map(move |(labels, count)| (*name, labels.to_owned(), count))
            })
            .filter(|(_, _, count)| *count != 0.0)
            .map(|(name, labels, count)| format!("{name}{labels} {count}"))
            .collect();
        if open.is_empty() {
            Ok(())
        } else {
            Err(open.join(", "))
        }
    };
    wait::until("everything to be closed", LIMIT, zero).await.unwrap();
    let status = site.installation.status().await;
    let streams = status["edge_report"]["streams"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(streams.iter().all(|stream| stream["open"] == 0), "{streams:?}");
}
