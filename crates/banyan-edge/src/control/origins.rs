//! Origins elsewhere: their secrets read, their servers checked, what is known of them told.
//!
//! Files are read when a snapshot names them (what cannot be used refuses the snapshot); a secret again when its file
//! changed and has stood still. Tasks: one per running check.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use tokio::sync::mpsc;

use banyan_config::{EdgeSettings, Origin};
use banyan_runtime::TaskKind;
use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};
use banyan_topology::report::OriginReport;

use super::Control;
use super::certificates::{Stamp, stamp};
use super::checks;
use super::page::{Row, all_of, by_class, histograms, numbers, with};
use crate::core::command::Command;
use crate::forward::origin::Known;
use crate::forward::origin::server::{Server, Shared};
use crate::metrics::EndpointCells;

/// A check takes no longer.
const LIMIT: Duration = Duration::from_secs(5);
/// With nothing to check, look again after this.
const NOTHING_DUE: Duration = Duration::from_secs(60);

pub(super) struct Origins {
    entries: BTreeMap<String, Entry>,
    checked: mpsc::UnboundedReceiver<Checked>,
    checked_to: mpsc::UnboundedSender<Checked>,
}

#[derive(Clone)]
pub(super) struct Entry {
    shared: Arc<Shared>,
    secret: Option<HeaderValue>,
    /// Of the secret's file: when it was read, and when it was last looked at.
    read: Stamp,
    seen: Stamp,
    due: Instant,
    /// Checks under way.
    checking: usize,
    /// By server; `None`: it is sound, or no check has ended yet.
    reasons: Vec<Option<String>>,
    problem: Option<String>,
}

/// A check that has ended.
pub(super) struct Checked {
    shared: Arc<Shared>,
    server: usize,
    result: Result<(), String>,
}

impl Origins {
    pub(super) fn new() -> Self {
        let (checked_to, checked) = mpsc::unbounded_channel();
        Self {
            entries: BTreeMap::new(),
            checked,
            checked_to,
        }
    }

    pub(super) async fn next(&mut self) -> Option<Checked> {
        self.checked.recv().await
    }

    /// What these settings ask for, with what is there already.
    pub(super) fn prepare(
        &self,
        settings: &EdgeSettings,
        cores: usize,
        now: Instant,
    ) -> Result<BTreeMap<String, Entry>, String> {
        let entry = |(name, config): (&String, &Origin)| {
            let kept = self.entries.get(name);
            let kept = kept.filter(|entry| entry.shared.config == *config).cloned();
            let entry = match kept {
                Some(entry) => entry,
                None => Entry::new(config, cores, now).map_err(|why| format!("origin {name}: {why}"))?,
            };
            Ok((name.clone(), entry))
        };
        settings.origins.iter().map(entry).collect()
    }

    pub(super) fn take(&mut self, entries: BTreeMap<String, Entry>) {
        self.entries = entries;
    }

    pub(super) fn known(&self) -> BTreeMap<String, Known> {
        let known = |(name, entry): (&String, &Entry)| {
            let known = Known {
                shared: Arc::clone(&entry.shared),
                secret: entry.secret.clone(),
            };
            (name.clone(), known)
        };
        self.entries.iter().map(known).collect()
    }

    pub(super) fn next_check(&self, now: Instant) -> Instant {
        let idle = self.entries.values().filter(|entry| entry.checking == 0);
        idle.map(|entry| entry.due).min().unwrap_or(now + NOTHING_DUE)
    }

    pub(super) fn report(&self) -> Vec<OriginReport> {
        let reports = self.entries.iter().flat_map(|(name, entry)| {
            let servers = entry.shared.servers.iter().zip(&entry.reasons);
            servers.map(move |(server, reason)| OriginReport {
                origin: name.clone(),
                url: server.name.clone(),
                sound: server.is_sound(),
                reason: reason.clone().or_else(|| entry.problem.clone()),
            })
        });
        reports.collect()
    }
}

impl Entry {
    fn new(config: &Origin, cores: usize, now: Instant) -> Result<Self, String> {
        let read = config.secret_file.as_deref().and_then(stamp);
        let shared = Shared::new(config, cores)?;
        Ok(Self {
            secret: config.secret_file.as_deref().map(secret).transpose()?,
            reasons: vec![None; shared.servers.len()],
            shared: Arc::new(shared),
            read,
            seen: read,
            due: now,
            checking: 0,
            problem: None,
        })
    }

    /// True: there is another secret.
    fn look(&mut self, name: &str) -> bool {
        let Some(path) = &self.shared.config.secret_file else {
            return false;
        };
        let now = stamp(path);
        let still = now == self.seen;
        self.seen = now;
        if now == self.read || !still {
            return false;
        }
        self.read = now;
        match secret(path) {
            Ok(secret) => {
                tracing::info!(origin = name, "the secret changed and is taken up");
                (self.secret, self.problem) = (Some(secret), None);
                true
            }
            Err(why) => {
                tracing::warn!(
                    origin = name,
                    why,
                    "a changed secret cannot be used; the one before holds"
                );
                self.problem = Some(why);
                false
            }
        }
    }
}

fn secret(path: &Path) -> Result<HeaderValue, String> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("failed to read {shown}: {error}"))?;
    let mut value = HeaderValue::from_str(text.trim()).map_err(|_| format!("{shown} holds no secret"))?;
    if value.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    value.set_sensitive(true);
    Ok(value)
}

async fn check(server: &Server, ready: Option<&str>, secret: Option<&HeaderValue>) -> Result<(), String> {
    let stream = server.connect().await.map_err(|error| error.to_string())?;
    let Some(path) = ready else { return Ok(()) };
    let host = server.host.to_str().unwrap_or_default();
    let secret = secret.and_then(|secret| secret.to_str().ok());
    let more = secret.map(|secret| format!("X-Origin-Verify: {secret}\r\n"));
    let status = checks::ask(stream, path, host, &more.unwrap_or_default()).await;
    match status.map_err(|error| error.to_string())? {
        200..=299 => Ok(()),
        status => Err(format!("{path} answered {status}")),
    }
}

impl Control {
    pub(super) fn check_origins(&mut self) {
        let now = self.clock.now();
        for entry in self.origins.entries.values_mut() {
            if entry.checking > 0 || entry.due > now {
                continue;
            }
            entry.due = now + entry.shared.config.interval;
            entry.checking = entry.shared.servers.len();
            for server in 0..entry.checking {
                let (shared, secret) = (Arc::clone(&entry.shared), entry.secret.clone());
                let to = self.origins.checked_to.clone();
                self.tasks
                    .spawn(TaskKind::Background, "check origin", async move {
                        let ready = shared.config.ready.as_deref();
                        let asked = check(&shared.servers[server], ready, secret.as_ref());
                        let result = tokio::time::timeout(LIMIT, asked).await;
                        let result = result.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
                        let _ending = to.send(Checked {
                            shared,
                            server,
                            result,
                        });
                    });
            }
        }
    }

    pub(super) fn judge_origin(&mut self, checked: Checked) {
        let Checked {
            shared,
            server,
            result,
        } = checked;
        let mut entries = self.origins.entries.values_mut();
        let Some(entry) = entries.find(|entry| Arc::ptr_eq(&entry.shared, &shared)) else {
            return;
        };
        entry.checking -= 1;
        let name = &shared.servers[server].name;
        let changed = shared.servers[server].checked(result.is_ok());
        match &result {
            Ok(()) if changed => tracing::info!(server = name, "an origin is sound again"),
            Err(why) if changed => {
                tracing::warn!(server = name, why, "an origin is not sound: it is passed over")
            }
            _ => {}
        }
        entry.reasons[server] = result.err();
        if changed {
            self.publish();
        }
    }

    /// Each second.
    pub(super) fn look_at_origins(&mut self) {
        let looks = self
            .origins
            .entries
            .iter_mut()
            .map(|(name, entry)| entry.look(name));
        if looks.fold(false, |changed, one| changed | one) {
            let known = self.origins.known();
            self.tell_all(|| Command::Origins(known.clone()));
        }
    }

    pub(super) fn of_origins(&self, all: &mut Families) {
        let servers = || {
            let entries = self.origins.entries.iter();
            entries.flat_map(|(name, entry)| entry.shared.servers.iter().map(move |server| (name, server)))
        };
        let row =
            |name: &String, server: &Server| vec![("origin", name.clone()), ("server", server.name.clone())];
        let rows: Vec<Row<'_, EndpointCells>> = servers()
            .map(|(name, server)| (row(name, server), all_of(&server.cells)))
            .collect();
        if rows.is_empty() {
            return;
        }
        let help =
            "1: the server passes its checks and answers requests; others are asked as the last resort.";
        let mut family = all.family(Gauge, "banyan_edge_origin_ready", help);
        for (name, server) in servers() {
            family.count(&with(&row(name, server), &[]), u64::from(server.is_sound()));
        }
        let answers = ("banyan_edge_origin_responses_total", "Answers of the server.");
        by_class(all, answers, &[], &rows, |c| &c.responses);
        let took = (
            "banyan_edge_origin_duration_seconds",
            "From the request sent to the head of the server's answer.",
        );
        histograms(all, took, &rows, |c| &c.durations);
        let failures = (
            Counter,
            "banyan_edge_origin_failures_total",
            "Requests to the server that got no answer (no connection, broken off, timed out).",
        );
        numbers(all, failures, &rows, |c| c.failures.get());
        let active = (
            Gauge,
            "banyan_edge_origin_active_requests",
            "Requests under way to the server.",
        );
        numbers(all, active, &rows, |c| c.in_flight.get());
    }
}
