//! `[origin.NAME]` as it is in force.

use super::{Writer, quoted};
use crate::origin::Origin;
use crate::units::format_duration;

pub(super) fn table(out: &mut Writer, name: &str, origin: &Origin) {
    let Origin {
        urls,
        secret_file,
        host,
        ca,
        ready,
        interval,
        timeout,
    } = origin;
    out.table(&format!("origin.{name}"));
    let mut urls = urls.iter().map(|url| quoted(&url.to_string()));
    if let Some(first) = urls.next() {
        out.line("url", first);
    }
    out.list("backup", urls);
    if let Some(file) = secret_file {
        out.text("secret_file", &file.to_string_lossy());
    }
    if let Some(host) = host {
        out.text("host", host);
    }
    if let Some(file) = ca {
        out.text("ca", &file.to_string_lossy());
    }
    if let Some(path) = ready {
        out.text("ready", path);
    }
    out.text("interval", &format_duration(*interval));
    out.text("timeout", &format_duration(*timeout));
}
