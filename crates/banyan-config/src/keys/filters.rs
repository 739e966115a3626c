//! What `[edge]` sets for all requests and `[[route]]` for its own: limits of rate and other filters.

use super::Key;
use super::Kind::{Integer, OneOf, Text, WordOrTables};
use super::Rule::{HeaderName, Rate};

/// Each in both tables, by the same keys.
pub(super) const RATE_LIMIT: Key = Key::new(
    "rate_limit",
    WordOrTables(&["off"], RATE_LIMITS),
    "How many requests are let through; above: 429. One table or several, or \"off\".",
)
.alias(&["rate_limits", "ratelimit", "throttle", "limit_req"]);

static RATE_LIMITS: &[Key] = &[
    Key::new(
        "rate",
        Text(Rate),
        "Requests per time: \"100/1s\", \"20/1m\", \"1000/1d\".",
    )
    .required()
    .alias(&["limit", "requests", "average"]),
    Key::new(
        "burst",
        Integer {
            min: 1,
            max: 1_000_000,
        },
        "Requests that may come at once after a pause. Default: as many as `rate` names.",
    ),
    Key::new(
        "by",
        OneOf(&["ip", "user", "key", "route", "header"]),
        "Whose requests are counted together.",
    )
    .default("\"ip\"")
    .alias(&["per", "key_by"]),
    Key::new(
        "header",
        Text(HeaderName),
        "With by = \"header\": its name. Requests without it count together.",
    ),
];
