//! `[[listener]]` as it is in force.

use std::collections::BTreeMap;

use super::{Writer, quoted};
use crate::listener::{StreamListener, StreamTo};
use crate::name::ProcessName;
use crate::units::format_duration;

pub(super) fn table(out: &mut Writer, listener: &StreamListener) {
    out.push(format_args!("\n[[listener]]\n"));
    out.text("name", &listener.name);
    let (protocol, process) = match &listener.to {
        StreamTo::Process(process) => ("tcp", Some(process)),
        StreamTo::Names { otherwise, .. } => ("tls", otherwise.as_ref()),
    };
    out.text("protocol", protocol);
    out.line("port", listener.listen.port());
    out.line("public", listener.listen.ip().is_unspecified());
    if let Some(process) = process {
        out.text("process", process.as_str());
    }
    if let StreamTo::Names { names, .. } = &listener.to
        && !names.is_empty()
    {
        out.line("names", by_name(names));
    }
    out.line("proxy_protocol", listener.proxy_protocol);
    out.text("idle", &format_duration(listener.idle));
}

pub(super) fn by_name(names: &BTreeMap<String, ProcessName>) -> String {
    let pairs: Vec<String> = names
        .iter()
        .map(|(name, process)| format!("{} = \"{process}\"", quoted(name)))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}
