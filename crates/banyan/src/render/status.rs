//! `banyan status`: a header, the table, and what is unfinished.

use std::time::Duration;

use banyan_reconcile::proto::{ProcessRates, RedisState, Row, Status, UnderWay};
use banyan_supervisor::ChildState;
use banyan_topology::report::{NodeReport, StreamReport};

use super::amount;
use super::paint::{Paint, Style};
use super::table::{self, Align, Cell};

const HEADER: [(&str, Align); 9] = [
    ("NAME", Align::Left),
    ("KIND", Align::Left),
    ("STATE", Align::Left),
    ("PID", Align::Right),
    ("PORT", Align::Right),
    ("SINCE", Align::Right),
    ("RESTARTS", Align::Right),
    ("RPS", Align::Right),
    ("MEM", Align::Right),
];

const MENDED_SHOWN: Duration = Duration::from_secs(24 * 3600);

/// `now_ms`: Unix time, for the SINCE column.
pub(crate) fn render(status: &Status, now_ms: u64, paint: Paint) -> String {
    let mut out = header(status, paint);
    out.push('\n');
    let rows: Vec<Vec<Cell>> = status.children.iter().map(|row| cells(row, now_ms)).collect();
    out.push_str(&table::render(&HEADER, &rows, paint));
    for reason in status.children.iter().filter_map(trouble) {
        out.push_str(&format!("{} {reason}\n", paint.yellow("!")));
    }
    for line in servers(status, paint)
        .into_iter()
        .chain(redis(status, paint))
        .chain(certificates(status, paint))
        .chain(refusals(status, paint))
    {
        out.push_str(&(line + "\n"));
    }
    for line in status.autoscale.iter().flat_map(super::autoscale::problems) {
        out.push_str(&format!("{} {line}\n", paint.yellow("!")));
    }
    for line in mended(status, now_ms)
        .into_iter()
        .chain(backups(status, now_ms, paint))
    {
        out.push_str(&(line + "\n"));
    }
    for line in listeners(status) {
        out.push_str(&(line + "\n"));
    }
    if let Some(under_way) = &status.under_way {
        out.push_str(&format!("\n{}\n", running(under_way, now_ms, paint)));
    } else if let Some((done, of, error)) = &status.unfinished {
        out.push_str(&format!(
            "\n{} {done} of {of} steps are done\n",
            paint.red("unfinished plan:")
        ));
        for line in error.lines() {
            out.push_str(&format!("  {line}\n"));
        }
        out.push_str("next: `banyan apply --resume` goes on, `banyan apply --revert` undoes it\n");
    }
    out
}

/// `change under way for 12 s: step 3 of 9, start web.2@r3, for 4 s`
fn running(under_way: &UnderWay, now_ms: u64, paint: Paint) -> String {
    let since = |ms: u64| amount::age(Duration::from_millis(now_ms.saturating_sub(ms)));
    let head = format!("{} under way for {}:", under_way.what, since(under_way.since_ms));
    let step = match &under_way.step {
        Some(step) => {
            let undoing = if step.undoes { "undoing " } else { "" };
            let (number, of, what) = (step.number, step.of, &step.what);
            format!(
                "step {number} of {of}, {undoing}{what}, for {}",
                since(step.since_ms)
            )
        }
        None => "planning".to_owned(),
    };
    format!("{} {step}", paint.yellow(&head))
}

/// Who cannot show who they are as configured, and connections that were turned away.
fn refusals(status: &Status, paint: Paint) -> Vec<String> {
    let Some(report) = &status.edge_report else {
        return Vec::new();
    };
    let trouble = |text: String| format!("{} {text}", paint.yellow("!"));
    let auth = report.auth.iter().filter_map(|auth| {
        let problem = auth.problem.as_ref()?;
        Some(trouble(format!(
            "auth.{}: {problem}; the last good ones hold",
            auth.name
        )))
    });
    let why = "their address had too many, or new ones too fast (edge.limits)";
    let origins = report
        .origins
        .iter()
        .filter(|one| !one.sound || one.reason.is_some());
    let origins = origins.map(|one| {
        let why = one.reason.as_deref().unwrap_or("it failed requests");
        let held = if one.sound { "" } else { "; others are asked first" };
        trouble(format!("origin.{}: {}: {why}{held}", one.origin, one.url))
    });
    let turned_away = (report.totals.turned_away > 0).then(|| {
        trouble(format!(
            "{} connections turned away: {why}",
            report.totals.turned_away
        ))
    });
    let disk = report.cache.as_ref().and_then(|cache| cache.problem.as_ref());
    let disk = disk.map(|why| {
        trouble(format!(
            "the cache keeps nothing on the disk: {why}; tried again each 30 s"
        ))
    });
    let alone = report.counts_alone.as_ref();
    let alone = alone.map(|why| {
        trouble(format!(
            "rate limits: each edge counts alone, its share of them: {why}"
        ))
    });
    auth.chain(origins)
        .chain(turned_away)
        .chain(disk)
        .chain(alone)
        .collect()
}

/// What a Redis suffers from.
fn redis(status: &Status, paint: Paint) -> Vec<String> {
    let problems = status.redis.iter().flat_map(RedisState::problems);
    problems
        .map(|text| format!("{} {text}", paint.yellow("!")))
        .collect()
}

/// What the PostgreSQL proxy cannot do, and which servers it does not use, and why.
fn servers(status: &Status, paint: Paint) -> Vec<String> {
    let Some(report) = &status.pgproxy_report else {
        return Vec::new();
    };
    let trouble = |text: String| format!("{} {text}", paint.yellow("!"));
    let refused = report
        .refused
        .iter()
        .map(|why| format!("pgproxy refuses the newest snapshot: {why}"));
    let logins = report
        .auth_problem
        .iter()
        .map(|why| format!("pgproxy cannot check passwords: {why}"));
    let server = |node: &NodeReport| {
        let id = node.id;
        match &node.reason {
            None if !node.reachable => Some(trouble(format!("pgproxy does not reach {id}"))),
            None => None,
            Some(why) if node.lag_bytes.is_none() => Some(trouble(format!("{id} gets no reads: {why}"))),
            // It follows: somebody wanted it so.
            Some(why) => Some(format!("{id} gets no reads: {why}")),
        }
    };
    let slow = (report.slow > 0).then(|| {
        format!(
            "{} slow statements in the last minute: `banyan database queries`, `banyan logs -p pgproxy`",
            report.slow
        )
    });
    let own = refused.chain(logins).chain(slow).map(trouble);
    own.chain(report.nodes.iter().filter_map(server)).collect()
}

/// Names and end of what https is served by, and what is wrong with it.
fn certificates(status: &Status, paint: Paint) -> Vec<String> {
    let served = status
        .edge_report
        .as_ref()
        .and_then(|report| report.certificates.as_ref());
    let own = served.map(|served| {
        let until = banyan_tls::date(served.until);
        format!("certificate for {} until {until}", served.names.join(", "))
    });
    let problems = served
        .and_then(|served| served.problem.as_ref())
        .into_iter()
        .chain(&status.certificate_problem);
    let problems = problems.map(|problem| format!("{} certificate: {problem}", paint.yellow("!")));
    own.into_iter().chain(problems).collect()
}

/// What was done about a primary that had failed, for a day.
fn mended(status: &Status, now_ms: u64) -> Option<String> {
    let mended = status.mended.as_ref()?;
    let since = Duration::from_millis(now_ms.saturating_sub(mended.at_ms));
    (since < MENDED_SHOWN).then(|| {
        let notes = mended.notes.join("; ");
        format!(
            "the primary of the database failed, {} ago: {notes}",
            amount::age(since)
        )
    })
}

/// The last and the next backup, how the log is stored, and what is wrong with either.
fn backups(status: &Status, now_ms: u64, paint: Paint) -> Vec<String> {
    let Some(state) = &status.backup else {
        return Vec::new();
    };
    let since = |ms: u64| amount::age(Duration::from_millis(now_ms.saturating_sub(ms)));
    let until = |ms: u64| amount::age(Duration::from_millis(ms.saturating_sub(now_ms)));
    let mut parts = vec![match &state.last {
        Some(last) => format!("last {} {} ago", last.kind.name(), since(last.stop_ms)),
        None => "none yet".to_owned(),
    }];
    match (&state.running, &state.next) {
        (Some(running), _) => {
            let percent = running
                .percent
                .map_or(String::new(), |percent| format!(", {percent} %"));
            parts.push(format!(
                "one is being made for {}{percent}",
                since(running.since_ms)
            ));
        }
        (None, Some((kind, at_ms))) => parts.push(format!("next {} in {}", kind.name(), until(*at_ms))),
        (None, None) => {}
    }
    if let Some(stored_ms) = state.archiving.stored_ms {
        parts.push(format!("log stored {} ago", since(stored_ms)));
    }
    let mut lines = vec![format!(
        "backups in {}: {}",
        state.path.display(),
        parts.join(", ")
    )];
    let problems = crate::render::backup::problems(state);
    lines.extend(
        problems
            .into_iter()
            .map(|problem| format!("{} {problem}", paint.yellow("!"))),
    );
    lines
}

/// What passes through listeners that speak no HTTP.
fn listeners(status: &Status) -> Vec<String> {
    let streams = status.edge_report.iter().flat_map(|report| &report.streams);
    let known = status.edge.iter().flat_map(|edge| &edge.listeners);
    let at = |name: &str| known.clone().find(|listener| listener.name == name);
    let line = |stream: &StreamReport| {
        let at = at(&stream.name).map_or(String::new(), |listener| format!(" on {}", listener.listen));
        let refused = match stream.refused {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        format!(
            "listener {}{at}: {} open of {} so far{refused}, {} in, {} out",
            stream.name,
            stream.open,
            stream.connections,
            amount::bytes(stream.received),
            amount::bytes(stream.sent)
        )
    };
    streams.map(line).collect()
}

fn header(status: &Status, paint: Paint) -> String {
    let release = status
        .release
        .map_or("no release".to_owned(), |r| format!("release {r}"));
    let mut first = vec![
        paint.bold(&status.app),
        release,
        format!("epoch {}", status.epoch),
    ];
    if let Some(url) = &status.url {
        first.insert(1, paint.cyan(url));
    }
    let mut out = first.join("  ") + "\n";
    let mut rates = Vec::new();
    if let Some(rps) = status.rps {
        rates.push(format!("{} requests/s", amount::rate(rps)));
    }
    if let Some(share) = status.error_share {
        let text = format!("{:.2} % errors", share * 100.0);
        rates.push(if share > 0.0 { paint.red(&text) } else { text });
    }
    if let Some(report) = &status.edge_report {
        let totals = &report.totals;
        rates.push(format!("{} in flight", totals.in_flight));
        if let (Some(p50), Some(p99)) = (totals.p50_us, totals.p99_us) {
            rates.push(format!(
                "p50 {}, p99 {}",
                amount::latency_us(p50),
                amount::latency_us(p99)
            ));
        }
        if let Some(p99) = totals.queue_p99_us.filter(|_| totals.queue_length > 0) {
            let wait = amount::latency_us(p99);
            let text = format!("{} waiting for an instance, p99 {wait}", totals.queue_length);
            rates.push(paint.red(&text));
        }
        if let Some(refused) = &report.refused {
            rates.push(paint.red(&format!("the edge refuses the newest snapshot: {refused}")));
        }
    }
    if !rates.is_empty() {
        out.push_str(&(rates.join(", ") + "\n"));
    }
    out.push_str(&database_line(status));
    let width = status.processes.iter().map(|p| p.process.as_str().len()).max();
    for process in &status.processes {
        out.push_str(&process_line(process, width.unwrap_or_default(), paint));
    }
    let metrics = status
        .edge_report
        .as_ref()
        .and_then(|report| report.metrics.as_ref());
    if let Some((metrics, why)) = metrics.and_then(|metrics| Some((metrics, metrics.problem.as_ref()?))) {
        let text = format!("metrics are not served at {}: {why}", metrics.address);
        out.push_str(&format!("{} {text}\n", paint.yellow("!")));
    }
    out
}

/// `database 412 units/s, 4 clients on 2 connections, 1.2 MiB of log/s`
fn database_line(status: &Status) -> String {
    let Some((report, rate)) = status
        .pgproxy_report
        .as_ref()
        .and_then(|report| Some((report, report.units_per_second?)))
    else {
        return String::new();
    };
    let mut parts = vec![
        format!("database {} units/s", amount::rate(rate)),
        format!("{} clients on {} connections", report.clients, report.backends),
    ];
    if let Some(p99) = report.wait_p99_us {
        parts.push(format!("waiting for one p99 {}", amount::latency_us(p99)));
    }
    if let Some(written) = report.wal_bytes_per_second.filter(|written| *written >= 1.0) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate, for people"
        )]
        let written = written as u64;
        parts.push(format!("{} of log/s", amount::bytes(written)));
    }
    parts.join(", ") + "\n"
}

/// `  web  212 requests/s, 0.12 % errors, p50 3 ms, p99 12 ms`
fn process_line(process: &ProcessRates, width: usize, paint: Paint) -> String {
    let mut parts = Vec::new();
    if let Some(rps) = process.rps {
        parts.push(format!("{} requests/s", amount::rate(rps)));
    }
    if let Some(share) = process.error_share {
        let text = format!("{:.2} % errors", share * 100.0);
        parts.push(if share > 0.0 { paint.red(&text) } else { text });
    }
    if let (Some(p50), Some(p99)) = (process.p50_us, process.p99_us) {
        let (p50, p99) = (amount::latency_us(p50), amount::latency_us(p99));
        parts.push(format!("p50 {p50}, p99 {p99}"));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("  {:width$}  {}\n", process.process.as_str(), parts.join(", "))
}

fn cells(row: &Row, now_ms: u64) -> Vec<Cell> {
    let child = &row.child;
    let (state, style) = state(row);
    let number = |value: Option<String>| Cell::new(value.unwrap_or_default());
    let since = child
        .since_ms
        .map(|ms| amount::age(Duration::from_millis(now_ms.saturating_sub(ms))));
    let restarts = if child.restarts > 0 {
        Style::Yellow
    } else {
        Style::Plain
    };
    vec![
        Cell::new(child.id.to_string()),
        Cell::styled(kind(row), Style::Dim),
        Cell::styled(state, style),
        number(child.pid.map(|pid| pid.to_string())),
        number(child.port.map(|port| port.to_string())),
        number(since),
        Cell::styled(child.restarts.to_string(), restarts),
        number(row.rps.map(amount::rate)),
        number(child.memory_bytes.map(amount::bytes)),
    ]
}

fn kind(row: &Row) -> String {
    match &row.detail {
        Some(detail) => format!("{}, {detail}", row.kind),
        None => row.kind.clone(),
    }
}

/// One or two words; an instance that is ready but out of rotation says so.
fn state(row: &Row) -> (String, Style) {
    let (word, style) = match &row.child.state {
        ChildState::Starting => ("starting", Style::Yellow),
        ChildState::Ready if row.healthy == Some(false) => ("unhealthy", Style::Red),
        ChildState::Ready if row.ejected.is_some() => ("ejected", Style::Red),
        ChildState::Ready => ("ready", Style::Green),
        ChildState::NotReady { .. } => ("not ready", Style::Red),
        ChildState::BackingOff { .. } => ("restarting", Style::Red),
        ChildState::CrashLoop { .. } => ("crash loop", Style::Red),
        ChildState::Stopping => ("stopping", Style::Yellow),
    };
    match (row.in_rotation, &row.child.state) {
        (Some(false), ChildState::Ready) => ("ready, no traffic".to_owned(), Style::Yellow),
        _ => (word.to_owned(), style),
    }
}

fn trouble(row: &Row) -> Option<String> {
    let id = &row.child.id;
    let wait = |ms: &u64| amount::took(Duration::from_millis(*ms));
    match &row.child.state {
        ChildState::NotReady { reason } => Some(format!("{id} is not ready: {reason}")),
        ChildState::BackingOff { exit, wait_ms } => Some(format!(
            "{id} exited ({exit}); it starts again in {}",
            wait(wait_ms)
        )),
        ChildState::CrashLoop { exits, exit, wait_ms } => Some(format!(
            "{id} exited {exits} times, last with {exit}; it is tried again in {}; see `banyan logs -p {id}`",
            wait(wait_ms)
        )),
        ChildState::Ready => row.ejected.as_ref().map(|why| format!("{id} is ejected: {why}")),
        ChildState::Starting => {
            let hint = row.child.hint.as_ref()?;
            Some(format!("{id} is not ready yet: {hint}"))
        }
        ChildState::Stopping => None,
    }
}

#[cfg(test)]
mod tests;
