//! `[observe]`.

use super::Writer;
use crate::observe::{ObserveSettings, ObserveTable, Otlp};
use crate::units::{format_bytes, format_duration};

pub(super) fn table(out: &mut Writer, observe: Option<&ObserveTable>) {
    out.table("observe");
    let Some(observe) = observe else {
        return out.line("enabled", false);
    };
    let ObserveTable {
        port,
        settings:
            ObserveSettings {
                disk_bytes,
                keep,
                otlp: Otlp { http, grpc, export },
            },
    } = observe;
    if let Some(port) = port {
        out.line("port", port);
    }
    out.text("disk", &format_bytes(*disk_bytes));
    out.text("keep", &format_duration(*keep));
    for (name, port) in [("otlp_http", http), ("otlp_grpc", grpc)] {
        if let Some(port) = port {
            out.line(name, port);
        }
    }
    if let Some(export) = export {
        out.text("export", export);
    }
}
