//! When a step that the edge performs is done: pure judgement of its reports.

use std::net::SocketAddr;

use banyan_topology::report::EdgeReport;
use banyan_topology::{Epoch, InstanceId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    /// Not yet; what is missing, for the message when the time is over.
    Wait(String),
    /// It will not come true by waiting.
    Failed(String),
}

/// What the edge is to make true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Admitted(InstanceId),
    Drained(InstanceId),
    Listens(Vec<SocketAddr>),
    /// Serves the snapshot, whatever else; what it refused before does not count.
    Serves,
}

/// Judges the newest report of the running edge process.
pub(super) fn judge(report: &EdgeReport, epoch: Epoch, goal: &Goal) -> Verdict {
    if report.epoch < epoch {
        return match &report.refused {
            Some(reason) if *goal != Goal::Serves => {
                Verdict::Failed(format!("the edge refused it: {reason}"))
            }
            Some(_) | None => Verdict::Wait(format!(
                "the edge serves snapshot {}, not yet {epoch}",
                report.epoch
            )),
        };
    }
    match goal {
        Goal::Admitted(id) => admitted(report, id),
        Goal::Drained(id) => drained(report, id),
        Goal::Listens(addresses) => listens(report, addresses),
        Goal::Serves => Verdict::Done,
    }
}

fn admitted(report: &EdgeReport, id: &InstanceId) -> Verdict {
    match report.endpoints.iter().find(|endpoint| endpoint.id == *id) {
        Some(endpoint) if endpoint.healthy => Verdict::Done,
        Some(endpoint) => Verdict::Wait(match &endpoint.reason {
            Some(reason) => format!("the edge finds it not healthy: {reason}"),
            None => "the edge has not checked it yet".to_owned(),
        }),
        None => Verdict::Wait(format!("the edge does not report {id}")),
    }
}

fn drained(report: &EdgeReport, id: &InstanceId) -> Verdict {
    // An endpoint that the edge no longer reports has nothing in flight.
    match report.endpoints.iter().find(|endpoint| endpoint.id == *id) {
        Some(endpoint) if endpoint.in_flight > 0 => {
            Verdict::Wait(format!("{} request(s) were still in flight", endpoint.in_flight))
        }
        _ => Verdict::Done,
    }
}

fn listens(report: &EdgeReport, addresses: &[SocketAddr]) -> Verdict {
    let missing = |address: &&SocketAddr| {
        // Port 0 asks for any port; which one is in the report.
        let fits = |at: &SocketAddr| at == *address || (address.port() == 0 && at.ip() == address.ip());
        !report.listening.iter().any(fits)
    };
    let Some(address) = addresses.iter().find(missing) else {
        return Verdict::Done;
    };
    match &report.refused {
        Some(reason) => Verdict::Failed(format!("the edge refused it: {reason}")),
        None => Verdict::Wait(format!("the edge does not listen on {address} yet")),
    }
}

#[cfg(test)]
mod tests {
    use banyan_topology::report::EndpointReport;

    use super::*;

    fn report(epoch: u64, healthy: bool, in_flight: u64) -> EdgeReport {
        EdgeReport {
            epoch: Epoch(epoch),
            listening: vec!["127.0.0.1:8080".parse().unwrap()],
            endpoints: vec![EndpointReport {
                id: web(),
                healthy,
                reason: (!healthy).then(|| "connection refused".to_owned()),
                ejected: None,
                ejections: 0,
                in_flight,
                requests: 0,
                failures: 0,
            }],
            ..EdgeReport::default()
        }
    }

    fn web() -> InstanceId {
        "web.1@r1".parse().unwrap()
    }

    #[test]
    fn an_older_epoch_proves_nothing() {
        for goal in [Goal::Admitted(web()), Goal::Drained(web())] {
            assert!(matches!(
                judge(&report(4, true, 0), Epoch(5), &goal),
                Verdict::Wait(_)
            ));
        }
    }

    #[test]
    fn admitted_means_healthy_and_drained_means_nothing_in_flight() {
        let admitted = |healthy| judge(&report(5, healthy, 0), Epoch(5), &Goal::Admitted(web()));
        assert_eq!(admitted(true), Verdict::Done);
        assert_eq!(
            admitted(false),
            Verdict::Wait("the edge finds it not healthy: connection refused".to_owned())
        );
        let drained = |in_flight| judge(&report(6, true, in_flight), Epoch(5), &Goal::Drained(web()));
        assert_eq!(drained(0), Verdict::Done);
        assert_eq!(
            drained(2),
            Verdict::Wait("2 request(s) were still in flight".to_owned())
        );
    }

    #[test]
    fn a_refusal_fails_at_once() {
        let refusing = EdgeReport {
            refused: Some("127.0.0.1:80 is in use".to_owned()),
            ..report(4, true, 0)
        };
        let goal = Goal::Listens(vec!["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(
            judge(&refusing, Epoch(5), &goal),
            Verdict::Failed("the edge refused it: 127.0.0.1:80 is in use".to_owned())
        );
    }
}
