//! The tables of `[[route]]`.

use super::Kind::{Boolean, Bytes, Duration, Integer, List, Map, OneOf, Short, Table, Text};
use super::Rule::{HeaderName, Name, NotEmpty, Path, Template, UrlPath};
use super::filters::{COMPRESS, CORS, RATE_LIMIT, WAF};
use super::limits::{RESPONSE_BODY, RESPONSE_HEADER};
use super::{HOUR, Key, MIB, auth};

pub(super) static ROUTE: &[Key] = &[
    Key::new(
        "name",
        Text(Name),
        "In logs and in `banyan route explain`. Default: route-1, route-2, …",
    ),
    Key::new(
        "domains",
        List(&Text(NotEmpty)),
        "Host names, without port; *.example.org is every name below it. Without it: any.",
    )
    .alias(&["domain", "host", "hosts", "server_name"]),
    Key::new("path", Text(UrlPath), "Exactly this path, decoded.").alias(&["exact"]),
    Key::new(
        "prefix",
        Text(UrlPath),
        "This path and what is below it, by whole segments.",
    )
    .alias(&["path_prefix"]),
    Key::new(
        "regex",
        Text(NotEmpty),
        "A regular expression over the decoded path; without ^ and $ it may match anywhere.",
    )
    .alias(&["pattern", "path_regex"]),
    Key::new(
        "as_received",
        Boolean,
        "Also match ambiguous paths (encoded slashes, dot and empty segments), compared undecoded.",
    )
    .default("false"),
    Key::new("methods", List(&Text(NotEmpty)), "Without it: any.").alias(&["method"]),
    Key::new(
        "headers",
        Map(HeaderName, &Text(Template)),
        "Request headers and their values; \"*\" is any value.",
    )
    .alias(&["header"]),
    Key::new(
        "cookies",
        Map(NotEmpty, &Text(Template)),
        "Cookies and their values; \"*\" is any value.",
    )
    .alias(&["cookie"]),
    Key::new(
        "query",
        Map(NotEmpty, &Text(Template)),
        "Parameters of the query, decoded; \"*\" is any value.",
    )
    .alias(&["params", "args"]),
    Key::new(
        "allow",
        List(&Text(NotEmpty)),
        "Addresses and networks that may use it; everybody else gets 403.",
    ),
    Key::new(
        "deny",
        List(&Text(NotEmpty)),
        "Addresses and networks that get 403, before `allow`.",
    )
    .alias(&["block"]),
    Key::new(
        "body",
        Bytes { min: 0, max: 1 << 40 },
        "Request body; above: 413. Default: that of [edge.limits].",
    )
    .alias(&["max_body", "body_size", "client_max_body_size"]),
    Key::new(
        "timeout",
        Duration {
            min: 10,
            max: 24 * HOUR,
        },
        "For the app to begin its answer; then 504. Default: edge.timeouts.response.",
    )
    .alias(&["response_timeout", "read_timeout", "proxy_read_timeout"]),
    RESPONSE_HEADER,
    RESPONSE_BODY,
    RATE_LIMIT,
    auth::NAMES,
    CORS,
    COMPRESS,
    WAF,
    Key::new(
        "process",
        Text(Name),
        "The process that gets the requests. Default: that of [edge].",
    )
    .alias(&["upstream", "backend", "service", "to"]),
    Key::new(
        "split",
        Map(
            Name,
            &Integer {
                min: 0,
                max: 1_000_000,
            },
        ),
        "Several processes by weight, for a canary or an A/B test.",
    )
    .alias(&["weights", "canary"]),
    Key::new(
        "origin",
        Text(Name),
        "The servers elsewhere that get the requests: those of [origin.NAME].",
    )
    .alias(&["proxy_pass", "external", "url"]),
    Key::new(
        "backup",
        Text(Name),
        "[origin.NAME] that answers safe requests when the process cannot: nobody there, too late, 500, 502, 503 or 504.",
    )
    .alias(&["fallback_origin", "failover"]),
    Key::new(
        "sticky",
        OneOf(&["cookie", "address", "none"]),
        "What keeps a user with the same process of a split.",
    )
    .default("\"cookie\""),
    Key::new(
        "rewrite",
        Text(UrlPath),
        "What the app sees in place of the matched path or prefix.",
    )
    .alias(&["strip_prefix", "replace_prefix"]),
    Key::new(
        "aggregate",
        Table(AGGREGATE),
        "Answer a GET with one JSON object of several processes' answers.",
    )
    .alias(&["aggregation", "compose", "gather", "merge"]),
    Key::new(
        "grpc",
        Table(GRPC),
        "Take HTTP with JSON for unary methods of a gRPC service.",
    )
    .alias(&["transcode", "grpc_json", "json_to_grpc", "grpc_gateway"]),
    Key::new(
        "mirror",
        Short(MIRROR),
        "A process that gets copies of the requests; their answers are dropped.",
    )
    .alias(&["shadow", "tee", "traffic_mirror"]),
    Key::new("static", Short(STATIC), "Answer with the files of a folder.").alias(&[
        "files",
        "root",
        "static_files",
        "dir",
    ]),
    Key::new("redirect", Short(REDIRECT), "Answer with a redirect."),
    Key::new("respond", Table(RESPOND), "Answer with this.").alias(&["return", "fixed"]),
    Key::new(
        "maintenance",
        Text(NotEmpty),
        "Answer 503 with a page that says this.",
    ),
    Key::new(
        "request_headers",
        Table(HEADER_EDIT),
        "Changes to what the app gets.",
    ),
    Key::new(
        "response_headers",
        Table(HEADER_EDIT),
        "Changes to what the client gets.",
    ),
];

static AGGREGATE: &[Key] = &[
    Key::new(
        "parts",
        Map(NotEmpty, &Table(PART)),
        "By the names that they have in the object, in this order.",
    )
    .required()
    .alias(&["services", "backends", "requests"]),
    Key::new(
        "timeout",
        Duration { min: 10, max: HOUR },
        "For all parts together, also to end their answers.",
    )
    .default("\"5s\"")
    .alias(&["deadline"]),
    Key::new(
        "on_failure",
        OneOf(&["fail", "omit", "null", "note"]),
        "When a part gives no JSON with 2xx in time: the whole fails, or lacks it, or has null or a note in its place.",
    )
    .default("\"fail\"")
    .alias(&["on_error", "partial", "failure"]),
    Key::new(
        "headers",
        List(&Text(HeaderName)),
        "The client's headers that parts get. What the edge says of a request (id, addresses, trace, user) they always get.",
    )
    .default("[\"authorization\", \"cookie\", \"accept-language\"]")
    .alias(&["request_headers", "pass", "forward_headers"]),
];

static PART: &[Key] = &[
    Key::new("process", Text(Name), "Who is asked. Default: that of [edge].").alias(&[
        "upstream", "backend", "service",
    ]),
    Key::new(
        "path",
        Text(NotEmpty),
        "What it is asked for; {path}, {rest} (behind the prefix), {query} (with its ?) and names of the regex are the request's.",
    )
    .required()
    .alias(&["target", "url", "to"]),
    Key::new(
        "timeout",
        Duration { min: 10, max: HOUR },
        "Of this part. Default: that of all.",
    )
    .alias(&["deadline"]),
    Key::new(
        "on_failure",
        OneOf(&["fail", "omit", "null", "note"]),
        "Of this part. Default: that of all.",
    )
    .alias(&["on_error", "partial", "failure"]),
    Key::new(
        "max",
        Bytes {
            min: 1,
            max: 64 * MIB,
        },
        "Its answer; above: it has failed.",
    )
    .default("\"1MiB\"")
    .alias(&["max_size", "limit"]),
];

static GRPC: &[Key] = &[
    Key::new(
        "descriptors",
        Text(Path),
        "A descriptor set with its imports (protoc --include_imports --descriptor_set_out), relative to banyan.toml; at most 1 MiB.",
    )
    .required()
    .alias(&["descriptor", "proto_descriptor", "file", "proto"]),
    Key::new("process", Text(Name), "Who is called, with protocol = \"h2\". Default: that of [edge].")
        .alias(&["upstream", "backend", "service", "to"]),
    Key::new(
        "services",
        List(&Text(NotEmpty)),
        "Whose google.api.http rules count; none: all of the set.",
    )
    .default("[]"),
    Key::new(
        "bindings",
        Map(NotEmpty, &Text(NotEmpty)),
        "Rules besides those of the set: \"GET /v1/items/{id}\" = \"shop.v1.Shop/GetItem\".",
    )
    .alias(&["rules", "mapping", "http"]),
    Key::new(
        "max",
        Bytes {
            min: 1,
            max: 64 * MIB,
        },
        "A request's body and an answer's message.",
    )
    .default("\"1MiB\"")
    .alias(&["max_size", "limit"]),
];

static MIRROR: &[Key] = &[
    Key::new("process", Text(Name), "Who gets the copies.").alias(&["to", "upstream", "service"]),
    Key::new("percent", Integer { min: 1, max: 100 }, "Of the requests.")
        .default("100")
        .alias(&["share", "weight", "fraction"]),
    Key::new(
        "unsafe_methods",
        Boolean,
        "Also copy requests that change something (POST, PUT, PATCH, DELETE …).",
    )
    .default("false"),
    Key::new(
        "body",
        Bytes {
            min: 0,
            max: 16 << 20,
        },
        "Requests with larger bodies are not copied.",
    )
    .default("\"64KiB\""),
    Key::new(
        "at_once",
        Integer { min: 1, max: 10_000 },
        "Copies under way at once, per worker; more are left out.",
    )
    .default("100"),
];

static STATIC: &[Key] = &[
    Key::new(
        "dir",
        Text(Path),
        "The folder, relative to banyan.toml. Nothing leads out of it, and hidden names are not served.",
    )
    .required()
    .alias(&["root", "path", "folder"]),
    Key::new("cache_control", Text(NotEmpty), "Cache-Control of what is found.")
        .default("\"no-cache\"")
        .alias(&["cache", "max_age", "expires"]),
    Key::new(
        "fallback",
        Text(UrlPath),
        "File that answers where there is none and a page is asked for: for apps that route in the browser.",
    )
    .alias(&["spa", "try_files"]),
    Key::new(
        "not_found",
        Text(UrlPath),
        "File that answers with 404 where there is none. Default: a short page.",
    )
    .alias(&["error_page", "not_found_page"]),
];

static REDIRECT: &[Key] = &[
    Key::new(
        "to",
        Text(NotEmpty),
        "A path or a URL; {host}, {path} and {query} are the request's.",
    )
    .required()
    .alias(&["url", "location"]),
    Key::new(
        "status",
        Integer { min: 300, max: 399 },
        "301 or 308: for ever; 302, 303 or 307: for now.",
    )
    .default("302")
    .alias(&["code"]),
];

static RESPOND: &[Key] = &[
    Key::new("status", Integer { min: 200, max: 599 }, "The status.")
        .default("200")
        .alias(&["code"]),
    Key::new("body", Text(Template), "The text. Default: empty.").alias(&["text", "content"]),
    Key::new("type", Text(NotEmpty), "Content-Type.")
        .default("\"text/plain; charset=utf-8\"")
        .alias(&["content_type"]),
];

static HEADER_EDIT: &[Key] = &[
    Key::new(
        "set",
        Map(HeaderName, &Text(Template)),
        "Names and values; a header that is there is replaced.",
    )
    .alias(&["add"]),
    Key::new(
        "remove",
        List(&Text(HeaderName)),
        "Names that are taken out, before `set`.",
    )
    .alias(&["delete", "hide", "unset"]),
];
