//! What `[edge]` sets for all requests and `[[route]]` for its own: limits of rate and other filters.

use super::Kind::{Boolean, Bytes, Duration, Integer, List, OneOf, Text, WordOrTables};
use super::Rule::{HeaderName, NotEmpty, Rate};
use super::{HOUR, Key, TIB};

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

/// In both tables, too.
pub(super) const CORS: Key = Key::new(
    "cors",
    WordOrTables(&["off"], CORS_KEYS),
    "Which other sites' pages may read answers. A table, or \"off\".",
)
.alias(&["cross_origin", "access_control"]);

static CORS_KEYS: &[Key] = &[
    Key::new(
        "origins",
        List(&Text(NotEmpty)),
        "Sites: \"https://app.example.org\", \"https://*.example.org\" (every name below), or \"*\".",
    )
    .required()
    .alias(&["origin", "allow_origins", "allowed_origins", "allow_origin"]),
    Key::new(
        "methods",
        List(&Text(NotEmpty)),
        "Methods that their pages may use.",
    )
    .default("[\"GET\", \"HEAD\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\"]")
    .alias(&["allow_methods", "allowed_methods"]),
    Key::new(
        "headers",
        List(&Text(NotEmpty)),
        "Request headers that their pages may set; \"*\": any.",
    )
    .default("[\"content-type\", \"authorization\"]")
    .alias(&["allow_headers", "allowed_headers"]),
    Key::new(
        "expose",
        List(&Text(NotEmpty)),
        "Headers of answers that their pages may read.",
    )
    .default("[]")
    .alias(&["expose_headers", "exposed_headers"]),
    Key::new(
        "credentials",
        Boolean,
        "Whether their requests come with cookies and passwords.",
    )
    .default("false")
    .alias(&["allow_credentials"]),
    Key::new(
        "max_age",
        Duration {
            min: 0,
            max: 24 * HOUR,
        },
        "How long browsers remember that they may ask.",
    )
    .default("\"10m\""),
];

/// In both tables, too.
pub(super) const COMPRESS: Key = Key::new(
    "compress",
    WordOrTables(&["on", "off"], COMPRESS_KEYS),
    "Whether answers are sent compressed. \"on\", \"off\", or a table.",
)
.alias(&["compression", "gzip", "encode"]);

pub(crate) static COMPRESS_KEYS: &[Key] = &[
    Key::new(
        "codings",
        List(&OneOf(&["zstd", "br", "gzip"])),
        "Best first, among those that a client takes equally.",
    )
    .default("[\"zstd\", \"br\", \"gzip\"]")
    .alias(&["encodings", "algorithms"]),
    Key::new(
        "types",
        List(&Text(NotEmpty)),
        "Media types: \"text/html\", \"text/*\", \"application/*+json\". Of text/* not text/event-stream, unless it is named.",
    )
    .default(
        "[\"text/*\", \"application/json\", \"application/javascript\", \"application/xml\", \"application/wasm\", \"application/x-ndjson\", \"application/*+json\", \"application/*+xml\", \"image/svg+xml\", \"font/ttf\", \"font/otf\"]",
    )
    .alias(&["gzip_types", "mime_types", "content_types"]),
    Key::new(
        "min",
        Bytes { min: 0, max: TIB },
        "The smallest answer that is compressed.",
    )
    .default("\"1KiB\"")
    .alias(&["gzip_min_length", "min_size", "min_length"]),
    Key::new("max", Bytes { min: 0, max: TIB }, "The largest whose length is known.")
        .default("\"10MiB\"")
        .alias(&["max_size", "max_length"]),
    Key::new(
        "private",
        Boolean,
        "Also answers that only one user may see: their sizes may tell secrets in them (BREACH).",
    )
    .default("false"),
];

/// In both tables, too.
pub(super) const WAF: Key = Key::new(
    "waf",
    WordOrTables(&["log", "block", "off"], WAF_KEYS),
    "Whether requests that look like attacks are logged or refused. \"log\", \"block\", \"off\", or a table.",
)
.alias(&["modsecurity", "firewall"]);

pub(crate) static WAF_KEYS: &[Key] = &[
    Key::new(
        "mode",
        OneOf(&["log", "block"]),
        "\"log\": what is met is counted and logged. \"block\": and refused (403).",
    )
    .default("\"log\""),
    Key::new(
        "except",
        List(&Text(NotEmpty)),
        "Rules that are not asked, by id: docs/waf.md lists them.",
    )
    .default("[]")
    .alias(&["exceptions", "disable"]),
];
