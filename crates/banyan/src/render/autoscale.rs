//! How numbers of instances follow their load: a table, what is in the way, the last changes.

use banyan_reconcile::proto::{Autoscale, Decided, Measured, ScaledProcess};
use banyan_supervisor::engine::postgres::backup::moment::moment;

use super::amount;
use super::paint::Paint;
use super::table::{self, Align, Cell};

const HEADER: [(&str, Align); 5] = [
    ("PROCESS", Align::Left),
    ("NOW", Align::Right),
    ("WANTED", Align::Right),
    ("BOUNDS", Align::Right),
    ("WHY", Align::Left),
];

pub(crate) fn page(shown: &Autoscale, paint: Paint) -> String {
    let rows: Vec<Vec<Cell>> = shown.processes.iter().map(row).collect();
    let mut out = table::render(&HEADER, &rows, paint);
    for line in problems(shown) {
        out.push_str(&format!("{} {line}\n", paint.yellow("!")));
    }
    if !shown.changes.is_empty() {
        out.push_str("\nlast changes\n");
    }
    for change in shown.changes.iter().rev() {
        out.push_str(&format!(
            "  {}  {} {} to {}: {}\n",
            moment(change.unix_ms * 1000),
            change.process,
            change.from,
            change.to,
            change.why
        ));
    }
    out
}

/// The last decision of each process, as far as it can be followed: what was measured, what it asks for, what bound it.
pub(crate) fn why(decisions: &[Decided], paint: Paint) -> String {
    if decisions.is_empty() {
        return "nothing was measured yet: the edge reports each second, the first decision takes some of them\n".to_owned();
    }
    let pages: Vec<String> = decisions.iter().map(|decided| reasons(decided, paint)).collect();
    pages.join("\n")
}

fn reasons(decided: &Decided, paint: Paint) -> String {
    let Measured { ready, starting, .. } = decided.measured;
    let starting = match starting {
        0 => String::new(),
        more => format!(" and {more} starting"),
    };
    let mut lines = vec![
        format!(
            "{}: {ready} ready{starting}, {} asked for, {} decided",
            decided.process, decided.need, decided.want
        ),
        line("at", &moment(decided.unix_ms * 1000)),
        line(
            "policy",
            &format!("{}, {} to {} instances", decided.policy, decided.min, decided.max),
        ),
    ];
    lines.extend(
        measured(&decided.measured)
            .iter()
            .map(|(name, text)| line(name, text)),
    );
    lines.push(line("asked for", &format!("{}: {}", decided.need, decided.why)));
    for bound in &decided.bounds {
        lines.push(line("bound by", bound));
    }
    if decided.bounds.is_empty() {
        lines.push(line("bound by", "nothing: it is what the load asks for"));
    }
    if decided.shadow {
        lines.push(format!(
            "{} shadow = true: it is not made true",
            paint.yellow("!")
        ));
    }
    lines.join("\n") + "\n"
}

fn line(name: &str, text: &str) -> String {
    format!("  {name:<13}{text}")
}

fn measured(of: &Measured) -> Vec<(&'static str, String)> {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let mut lines = vec![
        (
            "load",
            format!(
                "{:.0} requests/s in 15 s, {:.0} in 5 s; {:.0} under way, {:.0} wait; {:.1} s old",
                of.rate_15s,
                of.rate_5s,
                of.in_flight,
                of.waiting,
                std::time::Duration::from_millis(of.age_ms).as_secs_f64()
            ),
        ),
        (
            "an instance",
            match of.slots {
                Some(slots) => format!(
                    "{:.0} requests/s when never idle: {slots} at once, {:.0} ms each",
                    of.capacity, of.service_ms
                ),
                None => format!("{:.0} ms for a request, as many at once as come", of.service_ms),
            },
        ),
        (
            "its start",
            amount::took(std::time::Duration::from_millis(of.start_ms)),
        ),
    ];
    lines.extend(of.cpu.map(|cpu| ("CPU", percent(cpu))));
    let refused = of.refused.filter(|refused| *refused > 0.0);
    lines.extend(refused.map(|refused| ("refused", percent(refused))));
    let database = of
        .pool_wait
        .map(|wait| format!("{} of the requests wait for a connection", percent(wait)));
    let connected = of
        .connected
        .map(|most| format!("connections for {most} instances"));
    let database: Vec<String> = database.into_iter().chain(connected).collect();
    if !database.is_empty() {
        lines.push(("database", database.join(", ")));
    }
    if of.host_is_full {
        lines.push(("machine", "has no CPU left".to_owned()));
    }
    lines
}

const SHADOW: [(&str, Align); 5] = [
    ("AT", Align::Left),
    ("PROCESS", Align::Left),
    ("NOW", Align::Right),
    ("WOULD BE", Align::Right),
    ("WHY", Align::Left),
];

/// What would have been done.
pub(crate) fn shadow(decisions: &[Decided], paint: Paint) -> String {
    let row = |decided: &Decided| {
        let bounds = decided.bounds.iter().map(|bound| format!("; {bound}"));
        let why = std::iter::once(decided.why.clone())
            .chain(bounds)
            .collect::<String>();
        vec![
            Cell::new(moment(decided.unix_ms * 1000)),
            Cell::new(decided.process.to_string()),
            Cell::new((decided.measured.ready + decided.measured.starting).to_string()),
            Cell::new(decided.want.to_string()),
            Cell::new(why),
        ]
    };
    table::render(&SHADOW, &decisions.iter().map(row).collect::<Vec<_>>(), paint)
}

fn row(of: &ScaledProcess) -> Vec<Cell> {
    let why = of
        .why
        .clone()
        .unwrap_or_else(|| "nothing was measured yet".to_owned());
    vec![
        Cell::new(of.process.to_string()),
        Cell::new(of.count.to_string()),
        Cell::new(of.want.map_or_else(|| "-".to_owned(), |want| want.to_string())),
        Cell::new(format!("{} to {}", of.min, of.max)),
        Cell::new(why),
    ]
}

/// What keeps numbers from following the load, one sentence each.
pub(crate) fn problems(shown: &Autoscale) -> Vec<String> {
    let paused = shown.paused_ms.map(|since| {
        format!(
            "paused since {}: `banyan autoscale resume` goes on",
            moment(since * 1000)
        )
    });
    let shadows = shown.processes.iter().filter(|of| of.shadow).map(|of| {
        let process = &of.process;
        format!(
            "{process}: shadow = true, nothing is changed: `banyan autoscale --shadow` shows what would be"
        )
    });
    let failed = shown
        .problem
        .as_ref()
        .map(|why| format!("the last change failed and is tried again: {why}"));
    let guards = shown.processes.iter().flat_map(|of| {
        of.guards
            .iter()
            .map(move |guard| format!("{}: {guard}", of.process))
    });
    paused
        .into_iter()
        .chain(failed)
        .chain(shadows)
        .chain(guards)
        .collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn numbers_reasons_and_what_is_in_the_way_are_shown() {
        let shown: Autoscale = serde_json::from_value(serde_json::json!({
            "paused_ms": 1_000_000_000_000_u64, "problem": "no port is free",
            "processes": [
                { "process": "web", "min": 2, "max": 8, "count": 3, "want": 4, "need": 9,
                  "why": "812 requests/s", "guards": ["more are needed than `max` allows"] },
                { "process": "api", "min": 1, "max": 4, "count": 1, "want": null, "need": null,
                  "why": null, "guards": [], "shadow": true },
            ],
            "changes": [{ "unix_ms": 1_000_000_060_000_u64, "process": "web", "from": 2, "to": 3, "why": "512 requests/s" }],
        }))
        .unwrap();
        expect![[r#"
            PROCESS  NOW  WANTED  BOUNDS  WHY
            web        3       4  2 to 8  812 requests/s
            api        1       -  1 to 4  nothing was measured yet
            ! paused since 2001-09-09 01:46:40+00: `banyan autoscale resume` goes on
            ! the last change failed and is tried again: no port is free
            ! api: shadow = true, nothing is changed: `banyan autoscale --shadow` shows what would be
            ! web: more are needed than `max` allows

            last changes
              2001-09-09 01:47:40+00  web 2 to 3: 512 requests/s
        "#]]
        .assert_eq(&page(&shown, Paint::OFF));
    }

    fn decided() -> Decided {
        serde_json::from_value(serde_json::json!({
            "unix_ms": 1_000_000_000_000_u64, "process": "web", "policy": "headroom", "shadow": true, "min": 2, "max": 8,
            "measured": {
                "age_ms": 400, "rate_5s": 1180.0, "rate_15s": 1104.0, "waiting": 12.0, "in_flight": 16.0, "ready": 2,
                "starting": 1, "slots": 8, "service_ms": 40.0, "capacity": 200.0, "start_ms": 900, "cpu": 0.62,
                "refused": 0.0, "pool_wait": 0.02, "connected": 6, "host_is_full": false,
            },
            "need": 9, "want": 6, "why": "1104 requests/s, by its trend 1502 when a new instance is ready",
            "bounds": ["it goes up by steps: the next one follows", "the database has no connections for more instances"],
        }))
        .unwrap()
    }

    #[test]
    fn a_decision_is_told_from_what_was_measured_to_what_bound_it() {
        expect![[r#"
            web: 2 ready and 1 starting, 9 asked for, 6 decided
              at           2001-09-09 01:46:40+00
              policy       headroom, 2 to 8 instances
              load         1104 requests/s in 15 s, 1180 in 5 s; 16 under way, 12 wait; 0.4 s old
              an instance  200 requests/s when never idle: 8 at once, 40 ms each
              its start    900 ms
              CPU          62 %
              database     2 % of the requests wait for a connection, connections for 6 instances
              asked for    9: 1104 requests/s, by its trend 1502 when a new instance is ready
              bound by     it goes up by steps: the next one follows
              bound by     the database has no connections for more instances
            ! shadow = true: it is not made true
        "#]]
        .assert_eq(&why(&[decided()], Paint::OFF));
        assert!(why(&[], Paint::OFF).contains("nothing was measured yet"));
    }

    #[test]
    fn what_would_have_been_done_is_a_line_each() {
        expect![[r#"
            AT                      PROCESS  NOW  WOULD BE  WHY
            2001-09-09 01:46:40+00  web        3         6  1104 requests/s, by its trend 1502 when a new instance is ready; it goes up by steps: the next one follows; the database has no connections for more instances
        "#]]
        .assert_eq(&shadow(&[decided()], Paint::OFF));
    }
}
