//! `[observe]`.

use super::Writer;
use crate::observe::{ObserveSettings, ObserveTable};
use crate::units::{format_bytes, format_duration};

pub(super) fn table(out: &mut Writer, observe: Option<&ObserveTable>) {
    out.table("observe");
    let Some(observe) = observe else {
        return out.line("enabled", false);
    };
    let ObserveTable {
        port,
        settings: ObserveSettings { disk_bytes, keep },
    } = observe;
    if let Some(port) = port {
        out.line("port", port);
    }
    out.text("disk", &format_bytes(*disk_bytes));
    out.text("keep", &format_duration(*keep));
}
