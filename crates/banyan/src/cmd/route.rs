//! `banyan route explain`: the matcher of the edge, asked by a person.

use anyhow::{Context as _, bail};
use banyan_config::{Balance, Config, CountLimits, EdgeTable, ProcessName, Route, RouteAction, SplitBy};
use banyan_edge::route::{Asked, Candidate, Explained, Fate, Table};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Serialize;

use crate::cli::{self, Explain, RouteQuestion};
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::paint::{Paint, Style};
use crate::render::table::{self, Align, Cell};

#[derive(Serialize)]
struct Answer {
    method: String,
    url: String,
    /// What happens to the request, in words.
    then: String,
    /// What is asked of it before.
    filters: Vec<String>,
    /// Which instances are near.
    zones: Vec<String>,
    #[serde(flatten)]
    explained: Explained,
}

pub(crate) fn run(args: &cli::Route, context: &Context) -> anyhow::Result<Exit> {
    let RouteQuestion::Explain(request) = &args.question;
    let loaded = loading::load(&context.place)?;
    let Some(edge) = &loaded.config.edge else {
        bail!("there is no edge: no process gets requests");
    };
    let explained = explain(request, &edge.routes)?;
    let answer = Answer {
        method: request.method.to_ascii_uppercase(),
        url: request.url.clone(),
        then: then(&explained, &edge.routes, edge.process.as_str()),
        filters: filters(&explained, edge),
        zones: zones(&explained, edge, &loaded.config),
        explained,
    };
    if context.json {
        context.print_json(&answer)?;
    } else {
        context.print(&render(&answer, context.paint))?;
    }
    Ok(Exit::Done)
}

fn explain(request: &Explain, routes: &[Route]) -> anyhow::Result<Explained> {
    let uri: Uri = request
        .url
        .parse()
        .with_context(|| format!("`{}` is not a URL", request.url))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &request.header {
        let name: HeaderName = name
            .parse()
            .with_context(|| format!("`{name}` is not a header's name"))?;
        let value =
            HeaderValue::from_str(value).with_context(|| format!("`{value}` is not a value of a header"))?;
        headers.append(name, value);
    }
    let host = headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .or(uri.host());
    let Some(host) = host else {
        bail!(
            "`{}` names no domain\n  next: write https://DOMAIN{}",
            request.url,
            uri.path()
        );
    };
    let table = Table::compile(routes).map_err(anyhow::Error::msg)?;
    Ok(table.explain(&Asked {
        method: &request.method.to_ascii_uppercase(),
        host,
        path: uri.path(),
        query: uri.query(),
        headers: &headers,
    }))
}

/// What the edge does with it.
fn then(explained: &Explained, routes: &[Route], process: &str) -> String {
    let winner = |name: &String| routes.iter().find(|route| route.name == *name);
    match explained.route.as_ref().and_then(winner) {
        Some(route) => action(&route.action),
        None if explained.ambiguous && !routes.is_empty() => {
            "answered 400: the path can be read in two ways".to_owned()
        }
        None => format!("process {process}, the edge's own: no route matches"),
    }
}

/// Of the route that answers, or of requests that no route takes.
fn filters(explained: &Explained, edge: &EdgeTable) -> Vec<String> {
    let winner = |name: &String| edge.routes.iter().find(|route| route.name == *name);
    let filters = match explained.route.as_ref().and_then(winner) {
        Some(route) => &route.bounds.filters,
        None if explained.ambiguous && !edge.routes.is_empty() => return Vec::new(),
        None => &edge.settings.filters,
    };
    let together = edge.settings.count_limits == CountLimits::Redis && !filters.rate_limits.is_empty();
    let together = together.then(|| "its limits are counted by all edges together, in Redis".to_owned());
    filters.words().into_iter().chain(together).collect()
}

/// Which instances of the processes that may get it are near the edge.
fn zones(explained: &Explained, edge: &EdgeTable, config: &Config) -> Vec<String> {
    let Some(own) = &edge.settings.zone else {
        return Vec::new();
    };
    let winner = |name: &String| edge.routes.iter().find(|route| route.name == *name);
    let processes: Vec<&ProcessName> = match explained.route.as_ref().and_then(winner) {
        Some(route) => route.processes().collect(),
        None if explained.ambiguous && !edge.routes.is_empty() => Vec::new(),
        None => vec![&edge.process],
    };
    let near = |process: &ProcessName| {
        let table = config.processes.get(process)?;
        let settings = &table.settings;
        let own = (1..=table.count)
            .filter(|slot| settings.zone(*slot) == Some(own))
            .count();
        let by_key = matches!(edge.settings.balance, Balance::IpHash | Balance::Ring);
        (!settings.zones.is_empty()).then_some((own, table.count, by_key))
    };
    let words = |process: &&ProcessName| {
        let (near, count, by_key) = near(process)?;
        let how = if by_key {
            "but the balance goes by a key"
        } else {
            "which come first"
        };
        Some(format!(
            "{near} of {count} instances of {process} are in the edge's zone {own}, {how}"
        ))
    };
    processes.iter().filter_map(words).collect()
}

fn action(action: &RouteAction) -> String {
    match action {
        RouteAction::Process(forward) => {
            let total: u32 = forward.shares.iter().map(|share| share.weight).sum();
            let percent = |weight: u32| f64::from(weight) * 100.0 / f64::from(total.max(1));
            let mut text = match forward.shares.as_slice() {
                [one] => format!("process {}", one.process),
                shares => {
                    let shares: Vec<String> = shares
                        .iter()
                        .map(|share| format!("{} {:.3} %", share.process, percent(share.weight)))
                        .collect();
                    let by = match forward.sticky {
                        SplitBy::Cookie => "by cookie",
                        SplitBy::Address => "by address",
                        SplitBy::None => "each request anew",
                    };
                    format!("split {}, {by}", shares.join(", "))
                }
            };
            if let Some(rewrite) = &forward.rewrite {
                text += &format!(", rewritten to {rewrite}");
            }
            if let Some(backup) = &forward.backup {
                text += &format!(", when it fails origin {backup}");
            }
            if let Some(mirror) = &forward.mirror {
                text += &format!(", {} % of it copied to {}", mirror.percent, mirror.process);
            }
            text
        }
        RouteAction::Origin(to) => match &to.rewrite {
            Some(rewrite) => format!("origin {}, rewritten to {rewrite}", to.origin),
            None => format!("origin {}", to.origin),
        },
        RouteAction::Aggregate(aggregate) => {
            let parts = aggregate.parts.iter();
            let parts: Vec<String> = parts
                .map(|part| format!("{} from {} {}", part.name, part.process, part.path))
                .collect();
            format!("one object of {}", parts.join(", "))
        }
        RouteAction::Grpc(transcode) => {
            format!(
                "JSON to gRPC of {} by {}",
                transcode.process,
                transcode.file.display()
            )
        }
        RouteAction::Static(files) => format!("files of {}", files.dir.display()),
        RouteAction::Redirect { to, status } => format!("redirect {status} to {to}"),
        RouteAction::Respond { status, .. } => format!("answered {status}"),
        RouteAction::Maintenance { .. } => "answered 503: maintenance".to_owned(),
    }
}

fn render(answer: &Answer, paint: Paint) -> String {
    let name = answer.explained.route.as_ref();
    let route = name
        .map(|name| format!(" route {}:", paint.bold(name)))
        .unwrap_or_default();
    let mut out = format!("{} {} →{route} {}\n", answer.method, answer.url, answer.then);
    for words in answer.filters.iter().chain(&answer.zones) {
        out += &format!("  {words}\n");
    }
    if !answer.explained.candidates.is_empty() {
        let header = [
            ("ROUTE", Align::Left),
            ("DOMAIN", Align::Left),
            ("FATE", Align::Left),
            ("WHY", Align::Left),
        ];
        let rows: Vec<Vec<Cell>> = answer.explained.candidates.iter().map(row).collect();
        out += "\n";
        out += &table::render(&header, &rows, paint);
    }
    out
}

fn row(candidate: &Candidate) -> Vec<Cell> {
    let (fate, style) = match candidate.fate {
        Fate::Wins => ("wins", Style::Bold),
        Fate::Loses => ("loses", Style::Plain),
        Fate::DoesNotMatch => ("no match", Style::Dim),
    };
    vec![
        Cell::styled(&candidate.route, style),
        Cell::styled(candidate.domain.as_deref().unwrap_or("any"), style),
        Cell::styled(fate, style),
        Cell::styled(&candidate.why, style),
    ]
}
