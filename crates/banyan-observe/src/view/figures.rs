//! Numbers of the last seconds: what they are, how fast they grow, which part of them.

use std::collections::BTreeMap;

use super::{Cache, Red};
use crate::collect::Round;
use crate::series::{Series, quantile};

const DISK_READS: &str = "banyan_edge_cache_disk_reads_total";

/// Two moments of the same system, a few seconds apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures<'a> {
    pub(crate) before: Option<&'a Round>,
    pub(crate) newest: Option<&'a Round>,
}

type Labels<'l> = &'l [(&'l str, &'l str)];

impl<'a> Figures<'a> {
    pub(super) fn at_ms(&self) -> Option<u64> {
        self.newest.map(|round| round.at_ms)
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds apart")]
    fn seconds(&self) -> Option<f64> {
        let (before, newest) = (self.before?, self.newest?);
        let apart = newest.at_ms.saturating_sub(before.at_ms);
        (apart > 0).then(|| apart as f64 / 1000.0)
    }

    /// All of a name in the newest moment.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = (&'a Series, f64)> {
        self.newest.into_iter().flat_map({
            let name = name.to_owned();
            move |round| of_name(round, &name)
        })
    }

    /// The sum of those with these labels; `None`: there are none.
    pub(super) fn sum(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        sum(self.newest?, name, labels)
    }

    /// How fast they grow per second; `None`: not known. One that is new has grown from nothing.
    pub(super) fn rate(&self, name: &str, labels: Labels<'_>) -> Option<f64> {
        let now = self.sum(name, labels)?;
        let before = sum(self.before?, name, labels).unwrap_or(0.0);
        Some((now - before).max(0.0) / self.seconds()?)
    }

    fn grown(&self, series: &Series, now: f64) -> f64 {
        let before = self.before.and_then(|round| round.values.get(series));
        (now - before.copied().unwrap_or(0.0)).max(0.0)
    }

    /// Cumulative buckets of what came between the two moments.
    fn buckets(&self, name: &str, labels: Labels<'_>) -> Vec<(f64, f64)> {
        let mut buckets: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
        if self.before.is_none() {
            return Vec::new();
        }
        for (series, now) in self
            .all(&format!("{name}_bucket"))
            .filter(|(s, _)| has(s, labels))
        {
            let bound = series.label("le").map(|le| le.parse().unwrap_or(f64::INFINITY));
            let Some(bound) = bound else { continue };
            // Bounds are not negative: their bits are in their order.
            buckets.entry(bound.to_bits()).or_insert((bound, 0.0)).1 += self.grown(series, now);
        }
        buckets.into_values().collect()
    }

    pub(super) fn quantile(&self, share: f64, name: &str, labels: Labels<'_>) -> Option<f64> {
        quantile(share, &self.buckets(name, labels))
    }

    fn red(&self, name: &str, labels: Labels<'_>) -> Red {
        const REQUESTS: &str = "http_server_request_duration_seconds";
        let counted = format!("{REQUESTS}_count");
        let per_second = self.rate(&counted, labels).or(self.seconds().map(|_| 0.0));
        let mut failed = labels.to_vec();
        failed.push(("http_response_status_code", "5xx"));
        let failed = self.rate(&counted, &failed).unwrap_or(0.0);
        Red {
            name: name.to_owned(),
            per_second,
            error_share: per_second.filter(|rate| *rate > 0.0).map(|rate| failed / rate),
            p50_seconds: self.quantile(0.5, REQUESTS, labels),
            p99_seconds: self.quantile(0.99, REQUESTS, labels),
            active: self.sum("http_server_active_requests", labels),
        }
    }

    pub(super) fn all_routes(&self) -> Red {
        self.red("all", &[])
    }

    pub(super) fn routes(&self) -> Vec<Red> {
        let known = self.all("http_server_active_requests");
        let names = known.filter_map(|(series, _)| series.label("http_route"));
        let names: std::collections::BTreeSet<&str> = names.collect();
        let asked = |name: &&str| *name != "*" || names.len() == 1 || self.sum_of_route(name) > 0.0;
        let named = names.iter().filter(|name| asked(name));
        named
            .map(|name| self.red(name, &[("http_route", name)]))
            .collect()
    }

    fn sum_of_route(&self, name: &str) -> f64 {
        let counted = "http_server_request_duration_seconds_count";
        self.sum(counted, &[("http_route", name)]).unwrap_or(0.0)
    }

    pub(super) fn caches(&self) -> Vec<Cache> {
        let mut all = self.of_the_cdn();
        for (series, _) in self.all("redis_keyspace_hits_total") {
            let Some(purpose) = series.label("redis") else {
                continue;
            };
            let labels = [("redis", purpose)];
            let hits = self.rate("redis_keyspace_hits_total", &labels);
            let misses = self.rate("redis_keyspace_misses_total", &labels);
            let asked = hits.zip(misses).map(|(hits, misses)| hits + misses);
            all.push(Cache {
                name: format!("redis {purpose}"),
                hit_ratio: hits
                    .zip(asked.filter(|all| *all > 0.0))
                    .map(|(hits, all)| hits / all),
                per_second: asked,
            });
        }
        all
    }

    /// Tier by tier, the nearest to browsers first; a shield's edges count for themselves. Then pictures.
    fn of_the_cdn(&self) -> Vec<Cache> {
        let mut tiers = Vec::new();
        for (tier, name) in [
            ("edge", "edge (CDN)"),
            ("beside", "edges of each other (CDN)"),
            ("shield", "shield (CDN)"),
        ] {
            let Some((asked, served)) = self.of_tier(tier) else {
                continue;
            };
            tiers.push(found(name, asked, served));
            if let ("edge", Some(asked), Some(read)) = (tier, asked, self.rate(DISK_READS, &[])) {
                let in_memory = (served - read).max(0.0);
                tiers.push(found("  in memory", Some(asked), in_memory));
                tiers.push(found("  on its disk", Some(asked - in_memory), read));
            }
        }
        let made = self.rate("banyan_edge_pictures_made_total", &[]);
        let left = self.rate("banyan_edge_pictures_left_total", &[]);
        if made.or(left).is_some() {
            let made = made.unwrap_or(0.0);
            let wanted = made + left.unwrap_or(0.0);
            tiers.push(found("pictures made", Some(wanted), made));
        }
        tiers
    }

    /// Requests that could have been answered by a tier of the CDN, and those that were; `None`: there is no such tier.
    fn of_tier(&self, tier: &str) -> Option<(Option<f64>, f64)> {
        let name = "banyan_cache_requests_total";
        self.sum(name, &[("tier", tier)])?;
        let of = |result| {
            let labels = [("tier", tier), ("result", result)];
            self.rate(name, &labels).unwrap_or(0.0)
        };
        let served = ["hit", "stale", "validated", "collapsed", "stood-in"];
        let asked = self.rate(name, &[("tier", tier)]);
        Some((
            asked.map(|asked| asked - of("bypass")),
            served.map(of).iter().sum(),
        ))
    }
}

fn found(name: &str, asked: Option<f64>, served: f64) -> Cache {
    let some = asked.filter(|asked| *asked > 0.0);
    Cache {
        name: name.to_owned(),
        hit_ratio: some.map(|asked| (served / asked).min(1.0)),
        per_second: asked,
    }
}

fn of_name<'a>(round: &'a Round, name: &str) -> impl Iterator<Item = (&'a Series, f64)> + use<'a> {
    let first = Series {
        name: name.to_owned(),
        labels: Vec::new(),
    };
    let name = name.to_owned();
    let from = round.values.range(first..);
    from.take_while(move |(series, _)| series.name == name)
        .map(|(series, value)| (series, *value))
}

fn sum(round: &Round, name: &str, labels: Labels<'_>) -> Option<f64> {
    let wanted = of_name(round, name).filter(|(series, _)| has(series, labels));
    wanted.map(|(_, value)| value).reduce(|a, b| a + b)
}

fn has(series: &Series, labels: Labels<'_>) -> bool {
    labels
        .iter()
        .all(|(name, value)| series.label(name) == Some(*value))
}
