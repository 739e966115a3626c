//! `[scale.NAME]`.

use super::Kind::{Boolean, Duration, Fraction, Integer, List, OneOf, Table, Text};
use super::Rule::TimeOfDay;
use super::{DAY, HOUR, Key, MINUTE, SECOND};

pub(super) static SCALE: &[Key] = &[
    Key::new(
        "policy",
        OneOf(&["headroom", "target", "concurrency", "spec"]),
        "headroom: so many that few requests wait; target: one figure is held; concurrency: requests at once are held, with a panic mode; spec: thresholds that must hold for minutes.",
    )
    .default("\"headroom\"")
    .alias(&["mode", "strategy"]),
    Key::new("min", Integer { min: 1, max: 100 }, "Never fewer.")
        .default("1")
        .alias(&["min_replicas", "min_instances", "minimum"]),
    Key::new("max", Integer { min: 1, max: 100 }, "Never more.")
        .required()
        .alias(&["max_replicas", "max_instances", "maximum"]),
    Key::new(
        "slo_wait",
        Duration { min: 1, max: MINUTE },
        "With policy = \"headroom\": at most 1 % of the requests wait longer for an instance.",
    )
    .default("\"100ms\""),
    Key::new("cores", Integer { min: 1, max: 1024 }, "CPUs that one instance is meant to use: what 100 % CPU is.")
        .default("1")
        .alias(&["cpus"]),
    Key::new(
        "schedule",
        List(&Table(FLOOR)),
        "Times of the day with a minimum of their own.",
    )
    .alias(&["schedules"]),
    Key::new(
        "shadow",
        Boolean,
        "Decides and notes what it would do, and changes nothing: `banyan autoscale --shadow` shows it.",
    )
    .default("false")
    .alias(&["dry_run"]),
    Key::new(
        "connections",
        Integer { min: 1, max: 10_000 },
        "Connections to the database that an instance opens at most. Default: as many as the PostgreSQL proxy has seen.",
    ),
    Key::new(
        "speed",
        Integer { min: 1, max: 5 },
        "For drills: the policy's time, with its windows and pauses, runs so many times faster than the clock.",
    )
    .default("1"),
    Key::new(
        "metric",
        OneOf(&["cpu", "requests", "in_flight"]),
        "With policy = \"target\": what is held of each instance: its CPU, requests per second, requests at once.",
    )
    .default("\"cpu\""),
    Key::new(
        "target",
        Integer { min: 1, max: 1_000_000 },
        "With policy = \"target\": the value that is held; of cpu in percent.",
    )
    .default("70")
    .alias(&["value", "target_cpu", "average_utilization"]),
    Key::new("up_cpu", Fraction, "With policy = \"spec\": more instances above this share of CPU.").default("0.7"),
    Key::new("down_cpu", Fraction, "With policy = \"spec\": fewer below this one.").default("0.3"),
    Key::new("up_for", Duration { min: SECOND, max: DAY }, "How long it must be above.").default("\"5m\""),
    Key::new("down_for", Duration { min: SECOND, max: DAY }, "How long it must be below.").default("\"15m\""),
    Key::new(
        "up_requests",
        Integer { min: 1, max: 1_000_000 },
        "With policy = \"spec\": more instances above so many requests per second and instance.",
    )
    .default("1000"),
    Key::new("up_errors", Fraction, "With policy = \"spec\": more instances above this share of refused requests.")
        .default("0.01"),
    Key::new("cooldown_up", Duration { min: 0, max: HOUR }, "Between two steps up.").default("\"300s\""),
    Key::new("cooldown_down", Duration { min: 0, max: HOUR }, "Before a step down.").default("\"600s\""),
];

static FLOOR: &[Key] = &[
    Key::new("from", Text(TimeOfDay), "From this time on, UTC.").required(),
    Key::new(
        "to",
        Text(TimeOfDay),
        "Until this time; before `from`: over midnight.",
    )
    .required(),
    Key::new("min", Integer { min: 1, max: 100 }, "Never fewer then.").required(),
];
