//! `[alerts]`: when somebody is told.

use super::Kind::{Boolean, Duration, Fraction, Integer, List, Map, OneOf, Scalar, Table, Text};
use super::Rule::{Name, NotEmpty, Path};
use super::{DAY, HOUR, Key, MINUTE, SECOND};

pub(super) static ALERTS: &[Key] = &[
    Key::new("enabled", Boolean, "Judges the rules. false: nobody is told of anything.").default("true"),
    Key::new(
        "every",
        Duration { min: SECOND, max: 10 * MINUTE },
        "How often rules are judged.",
    )
    .default("\"30s\"")
    .alias(&["interval", "evaluation_interval"]),
    Key::new(
        "clear",
        Duration { min: 0, max: DAY },
        "An alert is over when its condition did not hold for so long.",
    )
    .default("\"1m\"")
    .alias(&["keep_firing_for"]),
    Key::new(
        "slo",
        Fraction,
        "Share of requests that is to be answered without a server error, in 30 days; the budget rules go by it.",
    )
    .default("0.999")
    .alias(&["objective", "availability"]),
    Key::new(
        "critical",
        List(&Text(NotEmpty)),
        "Routes whose errors are judged on their own, by `errors-critical`.",
    )
    .alias(&["critical_routes", "routes"]),
    Key::new(
        "rule",
        Map(Name, &Table(RULE)),
        "A table per rule that is to be other than it is.",
    )
    .alias(&["rules", "override", "overrides"]),
    Key::new("to", Map(Name, &Table(TO)), "A table per receiver.").alias(&[
        "receiver",
        "receivers",
        "notify",
        "webhook",
    ]),
];

static RULE: &[Key] = &[
    Key::new("enabled", Boolean, "false: the rule is not judged.").default("true"),
    Key::new(
        "limit",
        Scalar,
        "The threshold, in the rule's own unit: a share (0.05), a time (\"2s\"), a factor (14.4).",
    )
    .alias(&["above", "threshold", "below", "value"]),
    Key::new(
        "for",
        Duration { min: 0, max: 30 * DAY },
        "How long the condition must hold.",
    )
    .alias(&["hold"]),
    Key::new(
        "over",
        Duration { min: SECOND, max: 30 * DAY },
        "The window that is looked at; of the budget rules the long one, of which the short one is a twelfth.",
    )
    .alias(&["window"]),
    Key::new(
        "least",
        Integer { min: 1, max: 1_000_000_000 },
        "With fewer requests in the window it says nothing.",
    )
    .alias(&["min_requests"]),
];

static TO: &[Key] = &[
    Key::new(
        "webhook",
        Text(NotEmpty),
        "An http:// or https:// URL that is sent a JSON document by POST.",
    )
    .alias(&["url"]),
    Key::new(
        "webhook_file",
        Text(Path),
        "The same from a file (mode 0600) whose only line is the URL, for one that is a secret itself.",
    )
    .alias(&["url_file"]),
    Key::new(
        "alertmanager",
        Text(NotEmpty),
        "The http:// or https:// address of an Alertmanager, which then decides who is told.",
    ),
    Key::new(
        "mail",
        List(&Text(NotEmpty)),
        "Addresses that get a mail, by `smtp` and from `from`.",
    )
    .alias(&["email", "to"]),
    Key::new(
        "smtp",
        Text(NotEmpty),
        "Server that takes the mail: smtps://USER@HOST, or smtp://USER@HOST:PORT (STARTTLS).",
    )
    .alias(&["smtp_server", "mail_server", "smarthost"]),
    Key::new("from", Text(NotEmpty), "Address that the mail is from.").alias(&["sender"]),
    Key::new(
        "password_file",
        Text(Path),
        "File (mode 0600) whose only line is the password of the user in `smtp`.",
    )
    .alias(&["smtp_password_file", "password"]),
    Key::new(
        "severity",
        List(&OneOf(&["P0", "P1", "P2"])),
        "Which alerts it is told of.",
    )
    .default("[\"P0\", \"P1\", \"P2\"]")
    .alias(&["severities", "level"]),
    Key::new(
        "repeat",
        Duration {
            min: MINUTE,
            max: 7 * 24 * HOUR,
        },
        "It is told again of what still fires after so long. Default: never.",
    )
    .alias(&["repeat_interval"]),
];
