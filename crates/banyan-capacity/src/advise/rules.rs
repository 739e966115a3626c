//! The rules, in the order of the ladder. Limits are the specification's where it has them: CPU 70 %, reads to writes 10:1,
//! 60 % of the reads for replicas, 500 GB a month for a CDN.

use super::{Evidence, Measured, Standing, Step, Unit};

const BUSY: f64 = 0.70;
/// From so much on there is no CPU for another process.
const FULL: f64 = 0.90;
/// Of the CPU in use, the database's, from which on it is what limits.
const DATABASE: f64 = 0.35;
const REFUSED: f64 = 0.01;
const MOVABLE: f64 = 0.60;
/// Ten reads for each write.
const READS: f64 = 10.0 / 11.0;
/// Of the busiest minutes to the mean: less is not worth following.
const UNEVEN: f64 = 2.0;
/// Instances that are busier than this when it is busiest would be too few if it grew.
const HALF: f64 = 0.50;
const EGRESS: f64 = 500.0;
const MONTH: f64 = 30.0 * 86_400.0;

/// Those that there are not yet, with their figures.
pub(super) fn open(standing: Standing, measured: &Measured) -> Vec<Step> {
    let rules = [
        more_instances(standing, measured),
        separate_database(standing, measured),
        replication(standing, measured),
        cache(standing, measured),
        cdn(standing, measured),
        autoscaling(standing, measured),
    ];
    rules.into_iter().flatten().collect()
}

fn more_instances(standing: Standing, of: &Measured) -> Option<Step> {
    let each = of.app.map(|app| app / f64::from(standing.instances.max(1)));
    let turned_away = of.refused.is_some_and(|refused| refused > REFUSED);
    let reason = if turned_away {
        above(
            "requests that found no instance",
            of.refused,
            REFUSED,
            Unit::Share,
        )
    } else {
        above("CPU of an instance, busiest minutes", each, BUSY, Unit::Share)
    };
    step(
        !standing.scaled && standing.instances < 2,
        "load-balancer",
        "run more instances of the app behind the edge",
        "[process.web] count = 3",
        [
            reason,
            below(
                "CPU of the machine, busiest minutes",
                of.machine,
                FULL,
                Unit::Share,
            ),
        ],
    )
}

fn separate_database(standing: Standing, of: &Measured) -> Option<Step> {
    step(
        standing.own_database,
        "separate-database",
        "move PostgreSQL to a machine of its own",
        "[database] url = \"postgres://…\"",
        [
            above(
                "CPU of the machine, busiest minutes",
                of.machine,
                BUSY,
                Unit::Share,
            ),
            above("of it PostgreSQL", database(of), DATABASE, Unit::Share),
        ],
    )
}

fn replication(standing: Standing, of: &Measured) -> Option<Step> {
    let primary = of.database.zip(of.cores).map(|(used, cores)| used / cores);
    step(
        standing.own_database && standing.replicas == 0,
        "replication",
        "answer reads by a replica; it also takes over when the primary fails",
        "[database] replicas = 1",
        [
            above("CPU of PostgreSQL, of the machine's", primary, BUSY, Unit::Share),
            above(
                "statements that a replica may answer",
                of.movable,
                MOVABLE,
                Unit::Share,
            ),
        ],
    )
}

fn cache(standing: Standing, of: &Measured) -> Option<Step> {
    step(
        !standing.cache,
        "cache",
        "keep what is read over and over in Redis",
        "[cache] memory = \"256MiB\"",
        [
            above(
                "of the CPU in use PostgreSQL",
                database(of),
                DATABASE,
                Unit::Share,
            ),
            above("statements that read only", of.movable, READS, Unit::Share),
        ],
    )
}

fn cdn(standing: Standing, of: &Measured) -> Option<Step> {
    let month = of.sent.map(|sent| sent * MONTH / 1e9);
    step(
        !standing.cdn,
        "cdn",
        "keep answers in the edge's cache",
        "[edge.cache] memory = \"256MiB\"",
        [above("leave the edge in a month", month, EGRESS, Unit::Gigabytes)],
    )
}

fn autoscaling(standing: Standing, of: &Measured) -> Option<Step> {
    let each = of.app.map(|app| app / f64::from(standing.instances.max(1)));
    let mean = of.rate.filter(|rate| *rate > 0.0);
    let uneven = of.rate_busy.zip(mean).map(|(busy, mean)| busy / mean);
    step(
        !standing.scaled,
        "autoscaling",
        "let the number of instances follow the load",
        "[scale.web] min = 2, max = 8, with max_connections in [edge.queue]",
        [
            above("busiest minutes against the mean", uneven, UNEVEN, Unit::Times),
            above("CPU of an instance, busiest minutes", each, HALF, Unit::Share),
        ],
    )
}

/// PostgreSQL's part of the CPU in use.
fn database(of: &Measured) -> Option<f64> {
    let used = of.machine? * of.cores?;
    (used > 0.0).then_some(of.database? / used)
}

fn step<const N: usize>(
    open: bool,
    rung: &str,
    what: &str,
    write: &str,
    evidence: [Evidence; N],
) -> Option<Step> {
    open.then(|| Step {
        rung: rung.to_owned(),
        what: what.to_owned(),
        write: write.to_owned(),
        evidence: evidence.into(),
    })
}

fn above(what: &str, now: Option<f64>, limit: f64, unit: Unit) -> Evidence {
    evidence(what, now, limit, unit, true)
}

fn below(what: &str, now: Option<f64>, limit: f64, unit: Unit) -> Evidence {
    evidence(what, now, limit, unit, false)
}

/// What was not measured holds nothing.
fn evidence(what: &str, now: Option<f64>, limit: f64, unit: Unit, above: bool) -> Evidence {
    Evidence {
        what: what.to_owned(),
        now,
        limit,
        above,
        unit,
        holds: now.is_some_and(|now| if above { now > limit } else { now < limit }),
    }
}
