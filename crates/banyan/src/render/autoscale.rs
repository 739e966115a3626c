//! How numbers of instances follow their load: a table, what is in the way, the last changes.

use banyan_reconcile::proto::{Autoscale, ScaledProcess};
use banyan_supervisor::engine::postgres::backup::moment::moment;

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
    let failed = shown
        .problem
        .as_ref()
        .map(|why| format!("the last change failed and is tried again: {why}"));
    let guards = shown.processes.iter().flat_map(|of| {
        of.guards
            .iter()
            .map(move |guard| format!("{}: {guard}", of.process))
    });
    paused.into_iter().chain(failed).chain(guards).collect()
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
                  "why": null, "guards": [] },
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
            ! web: more are needed than `max` allows

            last changes
              2001-09-09 01:47:40+00  web 2 to 3: 512 requests/s
        "#]]
        .assert_eq(&page(&shown, Paint::OFF));
    }
}
