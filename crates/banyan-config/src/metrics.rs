//! `[metrics]`: where what is measured can be read. `[edge.log]`: which requests have a line.

use std::net::SocketAddr;

use crate::model::{EdgeLog, EdgeTable, Metrics};
use crate::read::Reader;
use crate::report::Report;

/// `None`: not served.
pub(crate) fn build(root: &Reader<'_>, edge: &EdgeTable, report: &Report) -> Option<Metrics> {
    let table = root.table("metrics");
    if !table.boolean("enabled") {
        return None;
    }
    // What is no address is reported elsewhere.
    let listen: SocketAddr = table.text_or_default("listen").parse().ok()?;
    if let Some(written) = table.text("listen") {
        let taken = [Some(edge.listen), edge.https];
        if taken
            .into_iter()
            .flatten()
            .any(|other| other.port() == listen.port())
        {
            let message = format!("port {} is taken: the edge listens on it", listen.port());
            let help = "write another port, for example listen = \"127.0.0.1:9464\"";
            report.error(&written.place, message, &[help]);
        }
        if !listen.ip().is_loopback() {
            let message = format!("everyone who reaches {listen} can read the metrics");
            let help =
                "they name routes, processes and rates: let a firewall stand in front, or write 127.0.0.1";
            report.warning(&written.place, message, &[help]);
        }
    }
    Some(Metrics { listen })
}

pub(crate) fn log(table: &Reader<'_>) -> EdgeLog {
    EdgeLog {
        sample: table.fraction("sample"),
        slow: table.duration("slow"),
    }
}

/// Keys of `[edge.log]` that would be without effect.
pub(crate) fn check_log(edge: &Reader<'_>, report: &Report) {
    if edge.boolean("access_log") {
        return;
    }
    if let Some(entry) = edge.entry("log") {
        let help = "remove one of the two";
        report.warning(
            &entry.place,
            "`log` has no effect with access_log = false",
            &[help],
        );
    }
}
