//! What comes next, for people: the system in a line, the step with its figures, what is not yet.

use banyan_capacity::advise::{Advice, Confidence, Measured, Standing, Step};
use banyan_config::Config;

use super::amount;
use super::paint::{Paint, Style};
use super::table::{self, Align, Cell};

const EVIDENCE: [(&str, Align); 3] = [
    ("EVIDENCE", Align::Left),
    ("NOW", Align::Right),
    ("LIMIT", Align::Right),
];

pub(crate) fn page(
    config: &Config,
    standing: Standing,
    measured: &Measured,
    advice: &Advice,
    paint: Paint,
) -> String {
    let mut out = format!("{}\n\n", head(config.name.as_str(), standing, measured));
    match &advice.next {
        Some(step) => out.push_str(&next(step, advice.confidence, paint)),
        None => out.push_str(&format!(
            "{}  nothing: no limit is passed\n",
            paint.with(Style::Bold, "NEXT")
        )),
    }
    for (n, step) in advice.not_yet.iter().enumerate() {
        if n == 0 {
            out.push_str("\nNOT YET\n");
        }
        let missing = step.missing().map(ToString::to_string);
        let missing =
            missing.unwrap_or_else(|| "its limits are passed too: the step above comes first".to_owned());
        out.push_str(&format!("  {:<18}{missing}\n", step.rung));
    }
    out
}

fn head(name: &str, standing: Standing, of: &Measured) -> String {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "?".to_owned(), amount::rate);
    let instances = match standing.instances {
        1 => "1 instance".to_owned(),
        more => format!("{more} instances"),
    };
    let p95 = of
        .p95
        .map(|p95| format!(", p95 {:.0} ms", p95 * 1000.0))
        .unwrap_or_default();
    format!(
        "{name}: {instances}, {} of figures, {:.0} requests: {}/s, {}/s when busiest{p95}",
        amount::age(of.over),
        of.requests,
        rate(of.rate),
        rate(of.rate_busy),
    )
}

fn next(step: &Step, confidence: Confidence, paint: Paint) -> String {
    let confidence = match confidence {
        Confidence::Low => "low, less than a day was seen",
        Confidence::Medium => "medium, less than a week was seen",
        Confidence::High => "high, a week or more was seen",
    };
    let rows: Vec<Vec<Cell>> = step
        .evidence
        .iter()
        .map(|one| {
            let now = one.now.map_or_else(|| "?".to_owned(), |now| one.unit.words(now));
            let side = if one.above { "above" } else { "below" };
            let limit = format!("{side} {}", one.unit.words(one.limit));
            vec![Cell::new(one.what.clone()), Cell::new(now), Cell::new(limit)]
        })
        .collect();
    let table = table::render(&EVIDENCE, &rows, paint);
    let table: String = table.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "{}  {}: {}\n      confidence {confidence}\n\n{table}\n      write {}\n      then `banyan plan`, `banyan apply`; a whole example: stages/{}.toml\n",
        paint.with(Style::Bold, "NEXT"),
        step.rung,
        step.what,
        step.write,
        step.rung,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use banyan_capacity::advise::{LEAST, advise};
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_next_step_stands_with_its_figures_above_what_is_not_yet() {
        let measured = Measured {
            over: Duration::from_secs(26 * 3600),
            requests: 1_234_567.0,
            rate: Some(13.2),
            rate_busy: Some(41.0),
            p95: Some(0.312),
            refused: Some(0.0),
            cores: Some(4.0),
            machine: Some(0.62),
            app: Some(0.91),
            database: Some(0.8),
            movable: None,
            sent: Some(69_000.0),
        };
        let standing = Standing {
            instances: 1,
            own_database: true,
            ..Standing::default()
        };
        let advice = advise(standing, &measured, LEAST).unwrap();
        let told = format!(
            "{}\n{}",
            head("shop", standing, &measured),
            next(advice.next.as_ref().unwrap(), advice.confidence, Paint::OFF)
        );
        expect![[r#"
            shop: 1 instance, 1d 2h of figures, 1234567 requests: 13/s, 41/s when busiest, p95 312 ms
            NEXT  load-balancer: run more instances of the app behind the edge
                  confidence medium, less than a week was seen

                  EVIDENCE                              NOW       LIMIT
                  CPU of an instance, busiest minutes  91 %  above 70 %
                  CPU of the machine, busiest minutes  62 %  below 90 %

                  write [process.web] count = 3
                  then `banyan plan`, `banyan apply`; a whole example: stages/load-balancer.toml
        "#]]
        .assert_eq(&told);
    }
}
