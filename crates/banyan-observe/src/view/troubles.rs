//! What is wrong, in words, worst first, of equals the alerts: what a person must see within seconds.

use super::{Figures, Level, Part, Red, Resource, Trouble};
use crate::series::Series;

/// Shares of failed requests that are worth a word.
const SOME: f64 = 0.01;
const MANY: f64 = 0.05;

pub(super) fn troubles(
    alerts: impl Iterator<Item = Trouble>,
    parts: &[Part],
    resources: &[Resource],
    total: &Red,
    figures: &Figures<'_>,
) -> Vec<Trouble> {
    let trouble = |level, what: String| Trouble { level, what };
    let mut all: Vec<Trouble> = alerts.collect();
    if let Some(share) = total.error_share.filter(|share| *share >= SOME) {
        let level = if share >= MANY { Level::Bad } else { Level::Warn };
        all.push(trouble(
            level,
            format!("{:.0} % of the requests fail", share * 100.0),
        ));
    }
    let known = parts
        .iter()
        .filter(|part| matches!(part.level, Level::Bad | Level::Warn));
    all.extend(known.map(|part| trouble(part.level, format!("{} {}", part.id, said(&part.says)))));
    if !parts.is_empty() && parts.iter().all(|part| part.level == Level::Unknown) && figures.newest.is_some()
    {
        let what = "the controller does not answer: what runs serves on, nothing is restarted";
        all.push(trouble(Level::Warn, what.to_owned()));
    }
    let full = resources.iter().filter(|resource| resource.level > Level::Fine);
    all.extend(full.map(|resource| {
        let waits = resource
            .waits
            .as_ref()
            .map(|waits| format!(", {waits}"))
            .unwrap_or_default();
        trouble(
            resource.level,
            format!("{}: {}{waits}", resource.name, resource.says),
        )
    }));
    if let Some(waiting) = figures
        .sum("banyan_edge_queue_length", &[])
        .filter(|waiting| *waiting > 0.0)
    {
        let what = format!("{waiting:.0} requests wait for an instance");
        all.push(trouble(Level::Warn, what));
    }
    all.extend(too_few(figures));
    if figures
        .sum("banyan_edge_snapshot_refused", &[])
        .is_some_and(|refused| refused > 0.0)
    {
        let what = "the edge cannot take its newest configuration and serves the one before";
        all.push(trouble(Level::Bad, what.to_owned()));
    }
    all.sort_by_key(|trouble| std::cmp::Reverse(trouble.level));
    all
}

/// Groups of which fewer serve than the load asks for: it came faster than they start, or they die.
fn too_few(figures: &Figures<'_>) -> Vec<Trouble> {
    let desired = figures.all("banyan_desired_instances");
    let of_group = |(series, wanted): (&Series, f64)| {
        let group = series.label("group")?;
        let labels = [("group", group), ("state", "serving")];
        let serving = figures.sum("banyan_instances", &labels).unwrap_or(0.0);
        (serving < wanted).then(|| Trouble {
            level: if serving > 0.0 { Level::Warn } else { Level::Bad },
            what: format!("{group}: {serving:.0} of the {wanted:.0} instances that the load asks for serve"),
        })
    };
    desired.filter_map(of_group).collect()
}

/// As the rest of a sentence that begins with a name.
fn said(says: &str) -> String {
    match says.split(' ').next() {
        Some("is" | "does" | "has") => says.to_owned(),
        _ => format!("is {says}"),
    }
}
