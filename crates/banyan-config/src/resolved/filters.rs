//! Filters as they are in force, as they would be written.

use super::{Writer, quoted};
use crate::filter::{Filters, RateBy, RateLimit};

/// `inherited` is what is in force without a line.
pub(super) fn keys(out: &mut Writer, filters: &Filters, inherited: &Filters) {
    if filters.rate_limits != inherited.rate_limits {
        match filters.rate_limits.as_slice() {
            [] => out.text("rate_limit", "off"),
            limits => out.list("rate_limit", limits.iter().map(rate_limit)),
        }
    }
}

fn rate_limit(limit: &RateLimit) -> String {
    let (by, header) = match &limit.by {
        RateBy::Ip => ("ip", None),
        RateBy::User => ("user", None),
        RateBy::Key => ("key", None),
        RateBy::Route => ("route", None),
        RateBy::Header(name) => ("header", Some(name)),
    };
    let header = header
        .map(|name| format!(", header = {}", quoted(name)))
        .unwrap_or_default();
    format!(
        "{{ rate = \"{}\", burst = {}, by = \"{by}\"{header} }}",
        limit.rate(),
        limit.burst
    )
}
