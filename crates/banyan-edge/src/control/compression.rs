//! What was counted of compressed answers; nothing is told of it before the first.

use banyan_config::Coding;
use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};

use super::Control;
use super::page::{Row, numbers};
use crate::metrics::CoreMetrics;

impl Control {
    pub(super) fn of_compression(&self, all: &mut Families) {
        let cores: Vec<&CoreMetrics> = self.cores.iter().map(|core| core.metrics.as_ref()).collect();
        let of = |coding: Coding| -> u64 { cores.iter().map(|c| c.compressed[coding as usize].get()).sum() };
        let skipped: u64 = cores.iter().map(|core| core.not_compressed.get()).sum();
        if skipped == 0 && Coding::ALL.into_iter().all(|coding| of(coding) == 0) {
            return;
        }
        let name = "banyan_edge_compressed_responses_total";
        let mut family = all.family(Counter, name, "Answers that were compressed.");
        for coding in Coding::ALL {
            family.count(&[("coding", coding.name())], of(coding));
        }
        let rows: [Row<'_, CoreMetrics>; 1] = [(Vec::new(), cores)];
        let (before, after) = (
            "banyan_edge_compression_in_bytes_total",
            "banyan_edge_compression_out_bytes_total",
        );
        numbers(all, (Counter, before, "Bytes of them before."), &rows, |c| {
            c.compressed_in.get()
        });
        numbers(all, (Counter, after, "Bytes of them after."), &rows, |c| {
            c.compressed_out.get()
        });
        let name = "banyan_edge_compressing_responses";
        numbers(
            all,
            (Gauge, name, "Answers that are being compressed."),
            &rows,
            |c| c.compressing.get(),
        );
        let name = "banyan_edge_compression_skipped_total";
        let help = "Answers that went as they were because too many others were being compressed.";
        numbers(all, (Counter, name, help), &rows, |c| c.not_compressed.get());
    }
}
