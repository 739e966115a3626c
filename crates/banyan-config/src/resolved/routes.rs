//! `[[route]]` as it is in force.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::{Writer, filters, quoted};
use crate::filter::Filters;
use crate::route::{Aggregate, HeaderEdit, Part, PathMatch, Route, RouteAction, SplitBy, Transcode};
use crate::units::{format_bytes, format_duration};

pub(super) fn table(out: &mut Writer, route: &Route, inherited: &Filters) {
    out.push(format_args!("\n[[route]]\n"));
    out.text("name", &route.name);
    let when = &route.when;
    list(out, "domains", &when.domains);
    match &when.path {
        PathMatch::Any => {}
        PathMatch::Exact(path) => out.text("path", path),
        // The whole site is written `/`.
        PathMatch::Prefix(prefix) if prefix.is_empty() => out.text("prefix", "/"),
        PathMatch::Prefix(prefix) => out.text("prefix", prefix),
        PathMatch::Regex(regex) => out.text("regex", regex),
    }
    if when.as_received {
        out.line("as_received", true);
    }
    list(out, "methods", &when.methods);
    for (key, pairs) in [
        ("headers", &when.headers),
        ("cookies", &when.cookies),
        ("query", &when.query),
    ] {
        if !pairs.is_empty() {
            out.line(key, map(pairs, |value| quoted(value)));
        }
    }
    for (key, networks) in [("allow", &route.bounds.allow), ("deny", &route.bounds.deny)] {
        if !networks.is_empty() {
            out.list(key, networks.iter().map(|network| format!("\"{network}\"")));
        }
    }
    if let Some(body) = route.bounds.body {
        out.text("body", &format_bytes(body));
    }
    let bounds = &route.bounds;
    if let Some(timeout) = bounds.timeout {
        out.text("timeout", &format_duration(timeout));
    }
    if let Some(most) = bounds.response_header {
        out.text("response_header", &format_bytes(most.into()));
    }
    if let Some(most) = bounds.response_body {
        out.text("response_body", &format_bytes(most));
    }
    filters::keys(out, &route.bounds.filters, inherited);
    action(out, &route.action);
    edit(out, "request_headers", &route.request_headers);
    edit(out, "response_headers", &route.response_headers);
}

fn action(out: &mut Writer, action: &RouteAction) {
    match action {
        RouteAction::Process(forward) => {
            if let [share] = forward.shares.as_slice() {
                out.text("process", share.process.as_str());
            } else {
                let shares: BTreeMap<String, u32> = forward
                    .shares
                    .iter()
                    .map(|share| (share.process.to_string(), share.weight))
                    .collect();
                out.line("split", map(&shares, |weight| *weight));
                let sticky = match forward.sticky {
                    SplitBy::Cookie => "cookie",
                    SplitBy::Address => "address",
                    SplitBy::None => "none",
                };
                out.text("sticky", sticky);
            }
            if let Some(rewrite) = &forward.rewrite {
                out.text("rewrite", rewrite);
            }
            if let Some(backup) = &forward.backup {
                out.text("backup", backup);
            }
            if let Some(mirror) = &forward.mirror {
                let (process, percent) = (quoted(mirror.process.as_str()), mirror.percent);
                let (unsafe_methods, at_once) = (mirror.unsafe_methods, mirror.at_once);
                let body = quoted(&format_bytes(mirror.body));
                out.line(
                    "mirror",
                    format_args!(
                        "{{ process = {process}, percent = {percent}, unsafe_methods = {unsafe_methods}, body = {body}, at_once = {at_once} }}"
                    ),
                );
            }
        }
        RouteAction::Origin(to) => {
            out.text("origin", &to.origin);
            if let Some(rewrite) = &to.rewrite {
                out.text("rewrite", rewrite);
            }
        }
        RouteAction::Aggregate(aggregate) => self::aggregate(out, aggregate),
        RouteAction::Grpc(transcode) => grpc(out, transcode),
        RouteAction::Static(files) => {
            let page = |key: &str, path: &Option<String>| {
                let path = path.as_ref().map(|path| format!(", {key} = {}", quoted(path)));
                path.unwrap_or_default()
            };
            let dir = quoted(&files.dir.to_string_lossy());
            let cache = quoted(&files.cache_control);
            let pages = page("fallback", &files.fallback) + &page("not_found", &files.not_found);
            out.line(
                "static",
                format_args!("{{ dir = {dir}, cache_control = {cache}{pages} }}"),
            );
        }
        RouteAction::Redirect { to, status } => {
            out.line(
                "redirect",
                format_args!("{{ to = {}, status = {status} }}", quoted(to)),
            );
        }
        RouteAction::Respond {
            status,
            body,
            content_type,
        } => out.line(
            "respond",
            format_args!(
                "{{ status = {status}, type = {}, body = {} }}",
                quoted(content_type),
                quoted(body)
            ),
        ),
        RouteAction::Maintenance { message } => out.text("maintenance", message),
    }
}

fn aggregate(out: &mut Writer, aggregate: &Aggregate) {
    let part = |part: &Part| {
        format!(
            "{} = {{ process = {}, path = {}, timeout = \"{}\", on_failure = \"{}\", max = \"{}\" }}",
            quoted(&part.name),
            quoted(part.process.as_str()),
            quoted(&part.path),
            format_duration(part.timeout),
            part.on_failure.name(),
            format_bytes(part.max)
        )
    };
    let parts: Vec<String> = aggregate.parts.iter().map(part).collect();
    let headers: Vec<String> = aggregate.headers.iter().map(|name| quoted(name)).collect();
    out.line(
        "aggregate",
        format_args!(
            "{{ timeout = \"{}\", headers = [{}], parts = {{ {} }} }}",
            format_duration(aggregate.timeout),
            headers.join(", "),
            parts.join(", ")
        ),
    );
}

fn grpc(out: &mut Writer, transcode: &Transcode) {
    let services: Vec<String> = transcode.services.iter().map(|name| quoted(name)).collect();
    out.line(
        "grpc",
        format_args!(
            "{{ descriptors = {}, process = {}, services = [{}], bindings = {}, max = \"{}\" }}",
            quoted(&transcode.file.to_string_lossy()),
            quoted(transcode.process.as_str()),
            services.join(", "),
            map(&transcode.bindings, |target| quoted(target)),
            format_bytes(transcode.max)
        ),
    );
}

fn edit(out: &mut Writer, key: &str, edit: &HeaderEdit) {
    if edit.is_empty() {
        return;
    }
    let remove: Vec<String> = edit.remove.iter().map(|name| quoted(name)).collect();
    let set = map(&edit.set, |value| quoted(value));
    out.line(
        key,
        format_args!("{{ set = {set}, remove = [{}] }}", remove.join(", ")),
    );
}

fn list(out: &mut Writer, key: &str, texts: &[String]) {
    if !texts.is_empty() {
        out.list(key, texts.iter().map(|text| quoted(text)));
    }
}

pub(super) fn map<V, T: Display>(pairs: &BTreeMap<String, V>, show: impl Fn(&V) -> T) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{} = {}", quoted(name), show(value)))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}
