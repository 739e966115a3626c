//! `mirror` of a route: which process gets copies of its requests.

use super::{Builder, Mirror, Share};
use crate::read::Reader;

pub(super) fn build(builder: &Builder<'_>, route: &Reader<'_>, shares: &[Share]) -> Option<Mirror> {
    let entry = route.entry("mirror")?;
    let table = route.table("mirror");
    let Some(spot) = table.text("process") else {
        let help = "write mirror = \"next\" with the process that gets the copies";
        builder
            .report
            .error(&entry.place, "`mirror` needs `process`", &[help]);
        return None;
    };
    let process = builder.known(&spot.value, &spot.place)?;
    if shares
        .iter()
        .any(|share| share.process == process && share.weight > 0)
    {
        let message = format!("`mirror` goes to `{process}`, which gets the requests themselves");
        builder.report.error(
            &spot.place,
            message,
            &["write another process, or remove `mirror`"],
        );
    }
    Some(Mirror {
        process,
        percent: table.number("percent"),
        unsafe_methods: table.boolean("unsafe_methods"),
        body: table.bytes("body"),
        at_once: table.number("at_once"),
    })
}
