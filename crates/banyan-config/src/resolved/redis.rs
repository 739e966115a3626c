//! `[sessions]` and `[cache]`.

use super::Writer;
use crate::redis::{ManagedRedis, Purpose, Redis};
use crate::units::format_bytes;

pub(super) fn table(out: &mut Writer, purpose: Purpose, redis: &Redis) {
    out.table(purpose.name());
    let managed = match redis {
        Redis::External(external) => return out.text("url", external.url.as_str()),
        Redis::Managed(managed) => managed,
    };
    let ManagedRedis {
        port,
        memory_bytes,
        eviction,
        settings,
    } = managed;
    if let Some(port) = port {
        out.line("port", port);
    }
    out.text("memory", &format_bytes(*memory_bytes));
    if purpose == Purpose::Cache {
        out.text("eviction", eviction.name());
    }
    if !settings.is_empty() {
        out.table(&format!("{purpose}.settings"));
        for (name, value) in settings {
            out.text(name, value);
        }
    }
}
