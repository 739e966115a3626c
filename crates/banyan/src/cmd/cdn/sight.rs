//! `banyan cdn stats` and `banyan cdn explain`: asks every edge process, and words what they say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_runtime::control::Connection;
use banyan_topology::sight::{
    Answer, BESIDE, CacheStats, Explained, Kept, Missed, PictureStats, Question, RouteCache,
};
use serde::Serialize;
use serde_json::json;

use crate::cli::cdn::CdnExplain;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::amount;
use crate::render::error::advised;
use crate::render::table::{self, Align, Cell};

const LIMIT: Duration = Duration::from_secs(3);
/// Shown of what was asked for most.
const MOST: usize = 20;

pub(super) fn stats(context: &Context) -> anyhow::Result<Exit> {
    let answers = ask(&Question::Stats, context)?;
    let all: Vec<CacheStats> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            Answer::Stats(stats) => Some(*stats),
            _ => None,
        })
        .collect();
    if context.json {
        let (routes, misses) = (rows(&all), misses(&all));
        context.print_json(&json!({ "edges": all, "routes": routes, "misses": misses }))?;
    } else {
        context.print(&render(&all, context))?;
    }
    Ok(Exit::Done)
}

pub(super) fn explain(args: &CdnExplain, context: &Context) -> anyhow::Result<Exit> {
    let question = Question::Explain {
        url: args.url.clone(),
        headers: args.header.clone(),
    };
    banyan_topology::purge::Scope::Url(args.url.clone())
        .check()
        .map_err(|why| anyhow::anyhow!(why))?;
    let mut all = Vec::new();
    for answer in ask(&question, context)? {
        match answer {
            Answer::Explained(told) => all.push(*told),
            Answer::Refused { why } => anyhow::bail!(why),
            Answer::NoCache | Answer::Stats(_) | Answer::Pushed { .. } => {}
        }
    }
    if context.json {
        context.print_json(&json!({ "edges": all }))?;
    } else {
        let several = all.len() > 1;
        let texts: Vec<_> = all.iter().map(|one| explained(one, several)).collect();
        context.print(&texts.join("\n"))?;
    }
    Ok(Exit::Done)
}

/// What each edge that runs says; at least one.
fn ask(question: &Question, context: &Context) -> anyhow::Result<Vec<Answer>> {
    let folder = context.place.state()?.cdn();
    let sockets = sockets(&folder);
    let answers = super::super::simple_runtime()?.block_on(async {
        let mut answers = Vec::new();
        for socket in sockets {
            match tokio::time::timeout(LIMIT, ask_one(&socket, question)).await {
                Ok(Some(answer)) => answers.push(answer),
                // Left behind by an edge that was killed, or about to end.
                Ok(None) | Err(_) => tracing::debug!(socket = %socket.display(), "no answer"),
            }
        }
        answers
    });
    if answers.is_empty() {
        let help =
            "`cache = {}` in [edge] and `banyan apply` give the edge a cache; `banyan status` says what runs";
        return Err(advised(anyhow::anyhow!("no edge with a cache runs here"), help));
    }
    Ok(answers)
}

pub(super) fn sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "sock"));
    paths.sort();
    paths
}

pub(super) async fn ask_one(socket: &Path, question: &Question) -> Option<Answer> {
    let mut connection = Connection::connect(socket).await.ok()?;
    connection.send(question).await.ok()?;
    connection.receive().await.ok().flatten()
}

/// Over all edges of a tier: what a shield answers is a miss of who asked it.
#[derive(Serialize)]
struct Row<'a> {
    tier: &'a str,
    #[serde(flatten)]
    route: RouteCache,
}

fn rows(all: &[CacheStats]) -> Vec<Row<'_>> {
    let mut sums: BTreeMap<(&str, &str), RouteCache> = BTreeMap::new();
    let routes = all.iter().flat_map(|stats| {
        let own = stats.routes.iter().map(|route| (stats.tier.as_str(), route));
        own.chain(stats.beside.iter().map(|route| (BESIDE, route)))
    });
    for (tier, route) in routes {
        let sum = sums.entry((tier, &route.route)).or_default();
        sum.route.clone_from(&route.route);
        for (from, to) in [(&route.results, &mut sum.results), (&route.whys, &mut sum.whys)] {
            for (name, count) in from {
                *to.entry(name.clone()).or_default() += count;
            }
        }
        sum.remedies.extend(route.remedies.clone());
        sum.stored_bytes += route.stored_bytes;
        sum.bytes += route.bytes;
    }
    let rows = sums.into_iter().map(|((tier, _), route)| Row { tier, route });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| (row.tier, std::cmp::Reverse(row.route.requests())));
    rows
}

fn misses(all: &[CacheStats]) -> Vec<Missed> {
    let mut sums: BTreeMap<(&str, &str), Missed> = BTreeMap::new();
    for missed in all.iter().flat_map(|stats| &stats.misses) {
        let sum = sums.entry((&missed.url, &missed.why)).or_insert_with(|| Missed {
            count: 0,
            over: 0,
            ..missed.clone()
        });
        sum.count += missed.count;
        sum.over += missed.over;
    }
    let mut misses: Vec<_> = sums.into_values().collect();
    misses.sort_by_key(|missed| std::cmp::Reverse(missed.count));
    misses.truncate(MOST);
    misses
}

const ROUTES: [(&str, Align); 9] = [
    ("TIER", Align::Left),
    ("ROUTE", Align::Left),
    ("REQUESTS", Align::Right),
    ("HITS", Align::Right),
    ("OF CACHEABLE", Align::Right),
    ("OF BYTES", Align::Right),
    ("VALIDATED", Align::Right),
    ("MISSES", Align::Right),
    ("MOST OFTEN BECAUSE", Align::Left),
];

fn render(all: &[CacheStats], context: &Context) -> String {
    let routes = rows(all);
    let rows: Vec<Vec<Cell>> = routes.iter().map(cells).collect();
    let mut out = if rows.is_empty() {
        "no request has come to the cache yet\n".to_owned()
    } else {
        table::render(&ROUTES, &rows, context.paint)
    };
    let remedies: Vec<String> = routes.iter().filter_map(|row| remedy(&row.route)).collect();
    if !remedies.is_empty() {
        out.push_str("\nwhat would make more of it hits:\n");
        remedies.iter().for_each(|line| out.push_str(line));
    }
    let misses = misses(all);
    if !misses.is_empty() {
        out.push_str("\nasked for most and not answered from the store:\n");
        for missed in &misses {
            out.push_str(&format!(
                "  {:>8}  {}  {}\n",
                missed.count, missed.why, missed.url
            ));
        }
    }
    for stats in all {
        out.push_str(&format!(
            "\n{} {}: {} in {} objects, {} given up for others, purges applied up to {}\n",
            stats.tier,
            stats.pid,
            amount::bytes(stats.stored_bytes),
            stats.stored,
            stats.evicted,
            stats.purged
        ));
        if let Some(pictures) = &stats.pictures {
            out.push_str(&made(pictures));
        }
    }
    out
}

fn made(pictures: &PictureStats) -> String {
    let by_format: Vec<_> = pictures.made.iter().filter(|(_, count)| **count > 0).collect();
    let by_format: Vec<String> = by_format
        .iter()
        .map(|(format, count)| format!("{count} {format}"))
        .collect();
    let made = if by_format.is_empty() {
        "none made".to_owned()
    } else {
        let sizes = (
            amount::bytes(pictures.made_bytes),
            amount::bytes(pictures.original_bytes),
        );
        format!("{} made, {} of {}", by_format.join(", "), sizes.0, sizes.1)
    };
    let seconds = pictures.took_ms / 1000;
    let (unmade, busy) = (pictures.unmade, pictures.busy);
    format!(
        "  pictures: {made}; {unmade} could not be, {busy} came when too many waited; {seconds} s of threads\n"
    )
}

fn cells(row: &Row<'_>) -> Vec<Cell> {
    let route = &row.route;
    let (requests, answered) = (route.requests(), route.answered());
    let cacheable = requests - route.count("bypass").min(requests);
    let often = route.whys.iter().max_by_key(|(_, count)| **count);
    [
        row.tier.to_owned(),
        route.route.clone(),
        requests.to_string(),
        share(answered, requests),
        share(answered, cacheable),
        share(route.stored_bytes, route.bytes),
        route.count("validated").to_string(),
        (route.count("miss") + route.count("bypass")).to_string(),
        often.map_or_else(String::new, |(why, count)| format!("{why} ({count})")),
    ]
    .into_iter()
    .map(Cell::new)
    .collect()
}

fn share(part: u64, all: u64) -> String {
    if all == 0 {
        return "-".to_owned();
    }
    let tenths = u128::from(part) * 1000 / u128::from(all);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// The first reason of a route that something can be done about.
fn remedy(route: &RouteCache) -> Option<String> {
    let mut whys: Vec<_> = route.whys.iter().collect();
    whys.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    whys.into_iter().find_map(|(why, count)| {
        let remedy = route.remedies.get(why)?;
        Some(format!("  {}: {count} requests: {remedy}\n", route.route))
    })
}

fn explained(told: &Explained, several: bool) -> String {
    let mut lines = Vec::new();
    if several {
        lines.push(format!("{} {}", told.tier, told.pid));
    }
    lines.push(format!("key      {}", told.key));
    lines.push(format!(
        "rule     {}",
        told.rule.as_deref().unwrap_or("none: what the answer says")
    ));
    lines.push(format!("verdict  {}", told.verdict));
    if told.stored.is_empty() {
        lines.push("stored   nothing".to_owned());
    }
    lines.extend(
        told.stored
            .iter()
            .map(|kept| format!("stored   {}", stored(kept))),
    );
    for missed in &told.missed {
        lines.push(format!("missed   {} times: {}", missed.count, missed.why));
        lines.extend(missed.remedy.iter().map(|remedy| format!("         {remedy}")));
    }
    if let Some(worst) = told.worst {
        lines.push(format!(
            "worst    a change is seen after {} at the latest: {} here, {} in browsers; while the app is down {} more",
            seconds(worst.sum_s),
            seconds(worst.edge_s),
            seconds(worst.browser_s),
            seconds(worst.if_error_s)
        ));
    }
    lines.extend(told.notes.iter().map(|note| format!("note     {note}")));
    lines.join("\n") + "\n"
}

fn stored(kept: &Kept) -> String {
    let mut text = format!("{}, {}", kept.status, amount::bytes(kept.bytes));
    if let Some(whole) = kept.whole {
        text.push_str(&format!(" of {}", amount::bytes(whole)));
    }
    text.push_str(&format!(", {} old", seconds(kept.age_s)));
    match u64::try_from(kept.ttl_s) {
        Ok(left) => text.push_str(&format!(", fresh for {} more ({})", seconds(left), kept.source)),
        Err(_) => text.push_str(&format!(
            ", past its time for {} ({})",
            seconds(kept.ttl_s.unsigned_abs()),
            kept.source
        )),
    }
    if let Some(purged) = &kept.purged {
        text.push_str(&format!(", purged ({purged})"));
    }
    if !kept.can_be_validated {
        text.push_str(", without ETag or Last-Modified");
    }
    for (what, list) in [("varies by", &kept.varies), ("tags", &kept.tags)] {
        if !list.is_empty() {
            text.push_str(&format!(", {what} {}", list.join(", ")));
        }
    }
    text
}

fn seconds(seconds: u64) -> String {
    amount::age(Duration::from_secs(seconds))
}
