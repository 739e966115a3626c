//! `[[route]]`: which request goes where. Everything that can be judged without a request is judged here.

mod aggregate;
mod grpc;
mod mirror;
mod model;
mod network;
mod origin;
mod text;

use std::collections::BTreeMap;

use crate::auth::Auth;
use crate::files::Files;
use crate::filter::{self, Filters};
use crate::model::{EdgeTable, ProcessTable};
use crate::name::ProcessName;
use crate::nearest::{list, nearest};
use crate::origin::Origin;
use crate::read::{Reader, Spot};
use crate::report::{Place, Report};
use crate::tree::{Entry, Value};

pub use aggregate::{Aggregate, OnFailure, Part};
pub use grpc::{Descriptors, Transcode};
pub use model::{
    Forward, HeaderEdit, Mirror, PathMatch, Route, RouteAction, RouteBounds, RouteMatch, Share, SplitBy,
    StaticFiles, ToOrigin,
};
pub use network::{Network, NetworkError};

/// Regular expressions are compiled once per core: this bounds their memory.
pub const REGEX_SIZE: usize = 1 << 20;

/// What a route does; one of them at most.
const ACTIONS: [&str; 9] = [
    "process",
    "origin",
    "split",
    "aggregate",
    "grpc",
    "static",
    "redirect",
    "respond",
    "maintenance",
];

struct Builder<'a> {
    processes: &'a BTreeMap<ProcessName, ProcessTable>,
    /// Where requests go that no route names a process for.
    default: &'a ProcessName,
    /// In force where a route has none of its own.
    filters: &'a Filters,
    auth: &'a BTreeMap<String, Auth>,
    origins: &'a BTreeMap<String, Origin>,
    files: &'a Files<'a>,
    report: &'a Report,
}

pub(crate) fn build(
    root: &Reader<'_>,
    edge: Option<&EdgeTable>,
    processes: &BTreeMap<ProcessName, ProcessTable>,
    files: &Files<'_>,
    report: &Report,
) -> Vec<Route> {
    let (nodes, keys) = root.items("route");
    let Some(edge) = edge else {
        if let (Some(node), false) = (nodes.first(), report.has_errors()) {
            let help = "name the process that gets all other requests: process = \"…\" in [edge]";
            report.error(&node.place, "routes need an edge, and there is none", &[help]);
        }
        return Vec::new();
    };
    let builder = Builder {
        processes,
        default: &edge.process,
        filters: &edge.settings.filters,
        auth: &edge.settings.auth,
        origins: &edge.settings.origins,
        files,
        report,
    };
    let mut routes: Vec<Route> = Vec::new();
    for (n, node) in nodes.iter().enumerate() {
        let Value::Table(entries) = &node.value else {
            continue;
        };
        let route = builder.route(&Reader::new(entries, keys), n + 1);
        builder.judge(&route, &routes, &node.place);
        routes.push(route);
    }
    routes
}

impl Builder<'_> {
    fn route(&self, table: &Reader<'_>, number: usize) -> Route {
        let name = table
            .text("name")
            .map_or_else(|| format!("route-{number}"), |name| name.value);
        Route {
            when: self.when(table),
            bounds: RouteBounds {
                allow: self.networks(table, "allow"),
                deny: self.networks(table, "deny"),
                body: table.bytes_if_any("body"),
                timeout: table.duration_if_any("timeout"),
                response_header: table
                    .bytes_if_any("response_header")
                    .and_then(|bytes| u32::try_from(bytes).ok()),
                response_body: table.bytes_if_any("response_body"),
                filters: filter::build(table, Some(&name), self.filters, self.auth, self.report),
            },
            action: self.action(table),
            request_headers: self.edit(&table.table("request_headers")),
            response_headers: self.edit(&table.table("response_headers")),
            name,
        }
    }

    fn judge(&self, route: &Route, before: &[Route], place: &Place) {
        if before.iter().any(|other| other.name == route.name) {
            let help = "names tell routes apart in logs and in `banyan route explain`";
            self.report
                .error(place, format!("two routes are named `{}`", route.name), &[help]);
        }
        if let Some(other) = before.iter().find(|other| other.when == route.when) {
            let message = format!(
                "route `{}` never matches: `{}` above has the same conditions",
                route.name, other.name
            );
            self.report
                .warning(place, message, &["among equals the first one wins"]);
        }
    }

    fn when(&self, table: &Reader<'_>) -> RouteMatch {
        RouteMatch {
            domains: self.sound(table.texts("domains"), text::domain),
            path: self.path(table),
            as_received: table.boolean("as_received"),
            methods: self.sound(table.texts("methods"), text::method),
            headers: pairs(table, "headers")
                .map(|(entry, value)| (entry.name.to_ascii_lowercase(), value.value))
                .collect(),
            cookies: plain_pairs(table, "cookies"),
            query: plain_pairs(table, "query"),
        }
    }

    fn networks(&self, table: &Reader<'_>, name: &str) -> Vec<Network> {
        let one = |spot: Spot<String>| match spot.value.parse() {
            Ok(network) => Some(network),
            Err(NetworkError) => {
                let message = format!("\"{}\" is no address and no network", spot.value);
                let help = "write for example \"10.0.0.5\" or \"10.0.0.0/8\"";
                self.report.error(&spot.place, message, &[help]);
                None
            }
        };
        table.texts(name).into_iter().filter_map(one).collect()
    }

    /// Each text in its final form; what is wrong is reported and left out.
    fn sound(
        &self,
        texts: Vec<Spot<String>>,
        judge: impl Fn(&str) -> Result<String, (String, String)>,
    ) -> Vec<String> {
        let one = |spot: Spot<String>| match judge(&spot.value) {
            Ok(text) => Some(text),
            Err((message, help)) => {
                self.report.error(&spot.place, message, &[&help]);
                None
            }
        };
        texts.into_iter().filter_map(one).collect()
    }

    fn path(&self, table: &Reader<'_>) -> PathMatch {
        let written: Vec<_> = ["path", "prefix", "regex"]
            .into_iter()
            .filter_map(|name| Some((name, table.text(name)?)))
            .collect();
        if let [_, (name, second), ..] = written.as_slice() {
            let message = format!("`{name}` beside `{}`: a route has one of them", written[0].0);
            let help = "path is exact, prefix is whole segments, regex is a regular expression";
            self.report.error(&second.place, message, &[help]);
        }
        match written.into_iter().next() {
            None => PathMatch::Any,
            Some(("path", spot)) => PathMatch::Exact(self.literal(spot)),
            Some(("prefix", spot)) => {
                let text = self.literal(spot);
                // `/api/` and `/api` mean the same whole segments.
                let trimmed = text.trim_end_matches('/');
                PathMatch::Prefix(trimmed.to_owned())
            }
            Some((_, spot)) => {
                let built = regex::RegexBuilder::new(&spot.value)
                    .size_limit(REGEX_SIZE)
                    .build();
                if let Err(error) = built {
                    let why = error.to_string();
                    let last = why
                        .lines()
                        .last()
                        .unwrap_or_default()
                        .trim_start_matches("error: ");
                    let message = format!("`regex` is not a regular expression: {last}");
                    let help = "the syntax is that of docs.rs/regex; it may match anywhere: begin with ^ and end with $";
                    self.report.error(&spot.place, message, &[help]);
                }
                PathMatch::Regex(spot.value)
            }
        }
    }

    /// A path in its decoded form, which is what requests are compared in.
    fn literal(&self, spot: Spot<String>) -> String {
        let problem = if spot.value.contains(['?', '#']) {
            Some("`?` begins the query: write it as query = { name = \"value\" }")
        } else if spot.value.contains('%') {
            Some("write the decoded text: requests are decoded before they are compared")
        } else if spot.value.contains("//") || spot.value.split('/').any(|part| part == "." || part == "..") {
            Some("such paths are refused as ambiguous; write the plain path")
        } else {
            None
        };
        if let Some(help) = problem {
            let message = format!("no request has the path \"{}\"", spot.value);
            self.report.error(&spot.place, message, &[help]);
        } else if let Some(before) = spot.value.strip_suffix('*') {
            let before = if before == "/" {
                before
            } else {
                before.trim_end_matches('/')
            };
            let help = format!("write prefix = \"{before}\" for all below it, or a regex");
            let message = format!("only the path \"{}\" itself is meant, with its `*`", spot.value);
            self.report.warning(&spot.place, message, &[&help]);
        }
        spot.value
    }

    fn action(&self, table: &Reader<'_>) -> RouteAction {
        let written: Vec<&Entry> = ACTIONS.iter().filter_map(|name| table.entry(name)).collect();
        if let [first, second, ..] = written.as_slice() {
            let message = format!(
                "`{}` beside `{}`: a route does one thing",
                second.name, first.name
            );
            self.report
                .error(&second.place, message, &["make two routes of it, or remove one"]);
        }
        let action = written.first().map_or("process", |entry| entry.name.as_str());
        self.rewrite_fits(table, action);
        self.mirror_fits(table, action);
        self.backup_fits(table, action);
        match action {
            "origin" => RouteAction::Origin(self.to_origin(table)),
            "aggregate" => RouteAction::Aggregate(self.aggregate(table)),
            "grpc" => RouteAction::Grpc(self.transcode(table)),
            "static" => RouteAction::Static(self.files_of(table)),
            "redirect" => self.redirect(&table.table("redirect")),
            "respond" => self.respond(&table.table("respond")),
            "maintenance" => RouteAction::Maintenance {
                message: table
                    .text("maintenance")
                    .map(|spot| spot.value)
                    .unwrap_or_default(),
            },
            _ => RouteAction::Process(self.forward(table)),
        }
    }

    fn forward(&self, table: &Reader<'_>) -> Forward {
        let shares = self.shares(table);
        Forward {
            mirror: mirror::build(self, table, &shares),
            backup: self.origin_named(table, "backup"),
            shares,
            sticky: match table.text_or_default("sticky").as_str() {
                "address" => SplitBy::Address,
                "none" => SplitBy::None,
                _ => SplitBy::Cookie,
            },
            rewrite: table.text("rewrite").map(|spot| self.literal(spot)),
        }
    }

    fn mirror_fits(&self, table: &Reader<'_>, action: &str) {
        if let (Some(entry), false) = (table.entry("mirror"), ["process", "split"].contains(&action)) {
            let message = format!("`mirror` does nothing beside `{action}`");
            self.report.error(
                &entry.place,
                message,
                &["remove it: only what goes to a process is copied"],
            );
        }
    }

    fn rewrite_fits(&self, table: &Reader<'_>, action: &str) {
        let Some(rewrite) = table.text("rewrite") else {
            return;
        };
        if !["process", "split", "origin"].contains(&action) {
            let message = format!("`rewrite` does nothing beside `{action}`");
            self.report.error(&rewrite.place, message, &["remove it"]);
        } else if !table.has("path") && !table.has("prefix") {
            let help = "it replaces the matched path or prefix: write one of them";
            self.report
                .error(&rewrite.place, "`rewrite` needs `path` or `prefix`", &[help]);
        }
    }

    fn shares(&self, table: &Reader<'_>) -> Vec<Share> {
        let one = |process: ProcessName| vec![Share { process, weight: 1 }];
        if let Some(spot) = table.text("process") {
            return self.known(&spot.value, &spot.place).map(one).unwrap_or_default();
        }
        let Some(entry) = table.entry("split") else {
            return one(self.default.clone());
        };
        let Value::Table(entries) = &entry.node.value else {
            return Vec::new();
        };
        let share = |entry: &Entry| {
            let Value::Integer(weight) = entry.node.value else {
                return None;
            };
            Some(Share {
                process: self.known(&entry.name, &entry.place)?,
                weight: u32::try_from(weight).ok()?,
            })
        };
        let mut shares: Vec<Share> = entries.iter().filter_map(share).collect();
        // A user's side must not depend on the order in the file.
        shares.sort_by(|a, b| a.process.cmp(&b.process));
        if shares.len() == entries.len() && shares.iter().all(|share| share.weight == 0) {
            let help = "write for example split = { web = 95, canary = 5 }";
            self.report
                .error(&entry.place, "`split` gives nobody a share", &[help]);
        }
        shares
    }

    fn known(&self, name: &str, place: &Place) -> Option<ProcessName> {
        let process: ProcessName = name.parse().ok()?;
        match self.processes.get(&process) {
            Some(table) => {
                if table.count == 0 {
                    let help = "the edge will answer 503 to what this route sends there";
                    self.report
                        .warning(place, format!("no instance of `{process}` runs"), &[help]);
                }
                Some(process)
            }
            None => {
                let names = self.processes.keys().map(ProcessName::as_str);
                let help = match nearest(name, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("processes are {}", list(names)),
                };
                self.report
                    .error(place, format!("there is no process `{name}`"), &[&help]);
                None
            }
        }
    }

    fn files_of(&self, route: &Reader<'_>) -> StaticFiles {
        let table = route.table("static");
        let dir = table.text("dir");
        if let Some(spot) = &dir {
            let folder = self.files.read_folder(std::path::Path::new(&spot.value));
            if let Err((shown, why)) = folder {
                let message = format!("the folder {} cannot be served: {why}", shown.display());
                let help = "write a folder, relative to banyan.toml";
                self.report.error(&spot.place, message, &[help]);
            }
        }
        self.one_reading(route, "static");
        if let Some(dir) = &dir {
            self.page_of(&table, "fallback", &dir.value);
            self.page_of(&table, "not_found", &dir.value);
        }
        let cache_control = table.text_or_default("cache_control");
        if let Some(spot) = table.text("cache_control") {
            self.header_value(&cache_control, &spot.place);
        }
        StaticFiles {
            dir: dir.map(|spot| spot.value.into()).unwrap_or_default(),
            cache_control,
            fallback: table.text("fallback").map(|spot| spot.value),
            not_found: table.text("not_found").map(|spot| spot.value),
        }
    }

    /// What is read from a path must have one meaning.
    fn one_reading(&self, route: &Reader<'_>, action: &str) {
        if let (true, Some(entry)) = (route.boolean("as_received"), route.entry("as_received")) {
            let message = format!("`as_received` does nothing beside `{action}`");
            let help = "remove it: here a path is read in one way only";
            self.report.error(&entry.place, message, &[help]);
        }
    }

    /// A page of a folder must be there.
    fn page_of(&self, table: &Reader<'_>, key: &str, dir: &str) {
        let Some(spot) = table.text(key) else { return };
        let path = std::path::Path::new(dir).join(spot.value.trim_start_matches('/'));
        if self.files.read_folder(std::path::Path::new(dir)).is_err() {
            return;
        }
        if let Err((shown, why)) = self.files.exists(&path) {
            let message = format!("`{key}` cannot be served: {}: {why}", shown.display());
            let help = "write the path of a file below the folder, for example \"/index.html\"";
            self.report.error(&spot.place, message, &[help]);
        }
    }

    fn redirect(&self, table: &Reader<'_>) -> RouteAction {
        let to = table.text("to");
        if let Some(spot) = &to
            && let Err((message, help)) = text::target(&spot.value)
        {
            self.report.error(&spot.place, message, &[&help]);
        }
        let status = table.number("status");
        if let Some(spot) = table.integer("status")
            && ![301, 302, 303, 307, 308].contains(&status)
        {
            let help = "301 and 308 are for ever, 302 and 307 for now; 307 and 308 keep the method";
            let message = format!("{status} is no redirect");
            self.report.error(&spot.place, message, &[help]);
        }
        RouteAction::Redirect {
            to: to.map(|spot| spot.value).unwrap_or_default(),
            status,
        }
    }

    fn respond(&self, table: &Reader<'_>) -> RouteAction {
        let content_type = table.text_or_default("type");
        if let Some(spot) = table.text("type") {
            self.header_value(&content_type, &spot.place);
        }
        RouteAction::Respond {
            status: table.number("status"),
            body: table.text("body").map(|spot| spot.value).unwrap_or_default(),
            content_type,
        }
    }

    fn edit(&self, table: &Reader<'_>) -> HeaderEdit {
        let mut edit = HeaderEdit::default();
        for spot in table.texts("remove") {
            let name = spot.value.to_ascii_lowercase();
            self.editable(&name, &spot.place);
            edit.remove.push(name);
        }
        for (entry, value) in pairs(table, "set") {
            let name = entry.name.to_ascii_lowercase();
            self.editable(&name, &entry.place);
            self.header_value(&value.value, &value.place);
            edit.set.insert(name, value.value);
        }
        edit
    }

    fn editable(&self, name: &str, place: &Place) {
        if let Err((message, help)) = text::editable(name) {
            self.report.error(place, message, &[&help]);
        }
    }

    fn header_value(&self, value: &str, place: &Place) {
        if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || value.trim() != value {
            let help = "visible ASCII characters, and spaces between them";
            self.report
                .error(place, format!("{value:?} cannot be a header's value"), &[help]);
        }
    }
}

/// The written pairs of a map of texts.
fn pairs<'a>(table: &Reader<'a>, name: &str) -> impl Iterator<Item = (&'a Entry, Spot<String>)> + use<'a> {
    let entries: &'a [Entry] = match table.entry(name).map(|entry| &entry.node.value) {
        Some(Value::Table(entries)) => entries,
        _ => &[],
    };
    entries.iter().filter_map(|entry| match &entry.node.value {
        Value::Text(value) => Some((
            entry,
            Spot {
                value: value.clone(),
                place: entry.node.place.clone(),
            },
        )),
        _ => None,
    })
}

fn plain_pairs(table: &Reader<'_>, name: &str) -> BTreeMap<String, String> {
    pairs(table, name)
        .map(|(entry, value)| (entry.name.clone(), value.value))
        .collect()
}
