//! `banyan check`: does the app keep the contract that its operation stands on? One instance, outside the rotation.

use std::time::Duration;

use banyan_supervisor::{ChildSpec, Handle, StartError, StopReport};

use super::local::chain;
use super::{Attempt, StepError};
use crate::proto::{Finding, Trial};

/// Starts, judges and always stops it.
pub(super) async fn run(
    supervisor: &Handle,
    spec: Result<ChildSpec, StepError>,
    attempt: Attempt<'_>,
) -> Trial {
    let mut findings = Vec::new();
    match spec {
        Ok(spec) => judge(supervisor, spec, attempt, &mut findings).await,
        Err(error) => findings.push(finding("starts", false, error.to_string())),
    }
    Trial {
        process: attempt.process.name.to_string(),
        findings,
    }
}

async fn judge(supervisor: &Handle, spec: ChildSpec, attempt: Attempt<'_>, findings: &mut Vec<Finding>) {
    let id = spec.id.clone();
    let grace = spec.stop_grace;
    match supervisor.start(spec).await {
        Ok(()) => {}
        Err(StartError::Exists(_)) => {
            findings.push(finding(
                "starts",
                false,
                "another trial is under way; wait for its end".to_owned(),
            ));
            return;
        }
        Err(error) => {
            findings.push(finding("starts", false, chain(&error)));
            return;
        }
    }
    let ready = supervisor.ready(&id).await;
    let is_ready = ready.is_ok();
    findings.push(readiness(ready.map_err(|error| error.to_string()), attempt));
    findings.extend(without_probe(attempt));
    let stopped = supervisor.stop(&id).await;
    // How an instance ends that never came up says nothing.
    if let Some(report) = stopped.filter(|_| is_ready) {
        findings.push(ending(&report, grace));
    }
}

fn readiness(ready: Result<(), String>, attempt: Attempt<'_>) -> Finding {
    let port = attempt.port;
    let (name, held) = match &attempt.process.settings.ready {
        Some(probe) => (
            "answers its readiness path",
            format!(
                "it listened on PORT ({port}) and answered {} with {}",
                probe.path, probe.status
            ),
        ),
        None => ("listens on PORT", format!("it listened on {port}")),
    };
    match ready {
        Ok(()) => finding(name, true, held),
        Err(error) => {
            let next = format!(
                "let the app listen on 127.0.0.1:$PORT (or 0.0.0.0), or put {{{{port}}}} into its command\n{}",
                error.trim_end()
            );
            finding(name, false, next)
        }
    }
}

/// Not an error, but it has a price.
fn without_probe(attempt: Attempt<'_>) -> Option<Finding> {
    if attempt.process.settings.ready.is_some() {
        return None;
    }
    let name = &attempt.process.name;
    let text = format!(
        "no `ready` is configured: an instance gets requests as soon as its port is open, even if it cannot answer yet \
         (a cold cache, a lost database). Add [process.{name}] ready = {{ path = \"/healthz\" }}"
    );
    Some(finding("has a readiness path", false, text))
}

fn ending(report: &StopReport, grace: Duration) -> Finding {
    let name = "ends on SIGTERM within its grace";
    let took = Duration::from_millis(report.took_ms);
    if report.killed {
        let text = format!(
            "it ignored SIGTERM and was killed after {grace:?}: requests in flight are lost at each deploy. Let it stop \
             accepting, finish what it has and exit; or give it more time with stop_grace. Started through a shell? \
             Begin the command with `exec`"
        );
        return finding(name, false, text);
    }
    if report.how == "exit code 0" {
        return finding(name, true, format!("{} after {took:?}", report.how));
    }
    // It never asked for the signal: nothing was in its way, and Banyan has emptied it of requests before.
    if report.how.contains("SIGTERM") {
        return finding(
            name,
            true,
            format!("{} after {took:?}; it has no handler of its own", report.how),
        );
    }
    let text = format!(
        "it ended with {} after {took:?}: exit with 0 after SIGTERM, so that a crash can be told from a stop",
        report.how
    );
    finding(name, false, text)
}

fn finding(name: &str, holds: bool, detail: String) -> Finding {
    Finding {
        name: name.to_owned(),
        holds,
        detail,
    }
}
