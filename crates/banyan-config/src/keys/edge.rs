//! `[edge]`: listeners, certificates, and what its other tables hold.

use super::Kind::{Boolean, Duration, Integer, List, Map, OneOf, Short, Table, Text, WordOrTables};
use super::Rule::{Domain, ExtensionHeader, Name, Network, NotEmpty, Path};
use super::balance::HEALTH;
use super::balance::QUEUE;
use super::balance::STICKY;
use super::cache::CACHE;
use super::filters::{COMPRESS, CORS, RATE_LIMIT, WAF};
use super::limits::LIMITS;
use super::limits::TIMEOUTS;
use super::metrics::LOG;
use super::places::PLACE;
use super::{HOUR, Key, auth};

pub(super) static EDGE: &[Key] = &[
    Key::new(
        "port",
        Integer { min: 1, max: 65535 },
        "Where people reach the app.",
    )
    .default("8080")
    .alias(&["listen", "bind", "address"]),
    Key::new(
        "public",
        Boolean,
        "false: only this machine (127.0.0.1); true: everyone who can reach it (0.0.0.0).",
    )
    .default("false"),
    Key::new(
        "tls",
        WordOrTables(&["self-signed", "acme"], CERTIFICATE),
        "Serves https: \"self-signed\" by an own CA (see `banyan trust`), \"acme\" by a public one, or certificate files.",
    )
    .alias(&["ssl", "https", "certificates", "certificate"]),
    Key::new(
        "https_port",
        Integer { min: 1, max: 65535 },
        "Where people reach the app by https, with `tls`.",
    )
    .default("8443")
    .alias(&["tls_port", "ssl_port"]),
    Key::new(
        "passthrough",
        Map(Domain, &Text(Name)),
        "With `tls`: names of handshakes on the https port that go to a process undecrypted.",
    )
    .alias(&["sni", "tls_passthrough"]),
    Key::new(
        "domains",
        List(&Text(Domain)),
        "Names that people reach the app by; the certificates must cover them.",
    )
    .default("[]")
    .alias(&["domain", "server_name", "hostnames"]),
    Key::new(
        "redirect",
        Boolean,
        "With `tls`: plain requests are sent to https.",
    )
    .default("true")
    .alias(&["https_redirect", "force_ssl"]),
    Key::new(
        "hsts",
        Duration {
            min: 0,
            max: 3650 * 24 * HOUR,
        },
        "With `tls`: for so long browsers use https only (Strict-Transport-Security); \"0s\" does not say so.",
    )
    .default("\"0s\"")
    .alias(&["strict_transport_security"]),
    Key::new("process", Text(Name), "The process that gets the requests.")
        .default("\"web\"")
        .alias(&["upstream", "app"]),
    Key::new("hosts", List(&Text(Name)), "Hosts that it may run on, of [host].").alias(&["host"]),
    Key::new(
        "balance",
        OneOf(&[
            "p2c_ewma",
            "round_robin",
            "weighted",
            "least_connections",
            "ip_hash",
            "ring",
        ]),
        "How an instance is picked.",
    )
    .default("\"p2c_ewma\"")
    .alias(&["policy", "strategy", "algorithm", "load_balancing"]),
    Key::new(
        "weights",
        List(&Integer { min: 1, max: 100 }),
        "Shares of instances 1, 2, …; the others weigh 1. Not for round_robin and ip_hash.",
    )
    .alias(&["weight"]),
    Key::new("hash_by", OneOf(&["path", "ip"]), "What `ring` goes by.")
        .default("\"path\"")
        .alias(&["hash", "hash_key", "key"]),
    Key::new(
        "slow_start",
        Duration { min: 0, max: HOUR },
        "How long the share of a new instance rises from 10 % to 100 %.",
    )
    .default("\"20s\"")
    .alias(&["slowstart", "warm_up", "ramp"]),
    Key::new(
        "trusted_proxies",
        List(&Text(Network)),
        "Addresses and networks whose X-Forwarded-* headers are believed; those of all others are stripped.",
    )
    .default("[]"),
    Key::new(
        "proxy_protocol",
        Boolean,
        "trusted_proxies begin their connections with a PROXY header (v1 or v2) that names the client; without one they are closed.",
    )
    .default("false")
    .alias(&["accept_proxy"]),
    Key::new(
        "deadline_header",
        Text(ExtensionHeader),
        "Header that tells instances how many milliseconds are left for their answer. Default: none.",
    )
    .alias(&["timeout_header", "deadline"]),
    Key::new(
        "access_log",
        Boolean,
        "A line of JSON per request in the edge's log.",
    )
    .default("true"),
    Key::new(
        "trace",
        OneOf(&["off", "proxies", "clients"]),
        "W3C trace context: whose `traceparent` is continued; who has none begins a trace.",
    )
    .default("\"proxies\"")
    .alias(&["tracing", "trace_context", "traceparent"]),
    Key::new(
        "trace_sampled",
        Integer { min: 0, max: 100 },
        "Percent of the traces begun here that are marked as sampled: steps of apps and statements are told of these.",
    )
    .default("10"),
    Key::new(
        "workers",
        Integer { min: 1, max: 1024 },
        "Worker threads. Default: one per core.",
    )
    .alias(&["threads"]),
    Key::new(
        "count_limits",
        OneOf(&["auto", "here", "redis"]),
        "Where `rate_limit` is counted: by each edge for itself (here), or by all together in the Redis of [sessions].",
    )
    .default("\"auto\"")
    .alias(&["limit_store", "rate_limit_store", "rate_limit_backend", "shared_limits"]),
    Key::new(
        "sticky",
        Short(STICKY),
        "Clients stay with their instance: \"ip\" or { cookie = \"NAME\" }. Without it each request goes by itself.",
    )
    .alias(&["affinity", "session_affinity", "stickiness", "persistence"]),
    Key::new(
        "cache",
        Table(CACHE),
        "With this table (it may be empty) the edge keeps answers and gives them to others, as their headers allow.",
    )
    .alias(&["caching", "cdn", "proxy_cache"]),
    Key::new(
        "place",
        Map(Name, &Table(PLACE)),
        "Further edges that serve the same routes, each a process with ports of its own.",
    )
    .alias(&["places", "edges", "pop", "pops"]),
    Key::new(
        "health",
        Table(HEALTH),
        "Passive health: instances that fail requests are taken out for a while.",
    )
    .alias(&["outlier_detection", "outliers", "passive"]),
    Key::new(
        "queue",
        Table(QUEUE),
        "How much an instance gets at once, and what happens to the rest.",
    )
    .alias(&["breaker", "circuit_breaker", "concurrency"]),
    RATE_LIMIT,
    auth::NAMES,
    CORS,
    COMPRESS,
    WAF,
    Key::new(
        "log",
        Table(LOG),
        "Which requests have a line in the access log.",
    )
    .alias(&["logging", "access"]),
    Key::new(
        "acme",
        Table(ACME),
        "With tls = \"acme\": who makes the certificates.",
    )
    .alias(&["letsencrypt", "lets_encrypt"]),
    Key::new("timeouts", Table(TIMEOUTS), "Limits in time.").alias(&["timeout"]),
    Key::new("limits", Table(LIMITS), "Limits in size.").alias(&["limit"]),
];

static ACME: &[Key] = &[
    Key::new(
        "directory",
        Text(NotEmpty),
        "URL of the CA's directory (RFC 8555).",
    )
    .default("\"https://acme-v02.api.letsencrypt.org/directory\"")
    .alias(&["url", "server", "ca"]),
    Key::new(
        "contact",
        Text(NotEmpty),
        "E-mail address that the CA writes to. Default: none.",
    )
    .alias(&["email", "mail"]),
    Key::new(
        "root",
        Text(Path),
        "PEM file: the CA that the directory's own https is believed by; relative to banyan.toml. Default: the system's.",
    )
    .alias(&["ca_root", "trusted_roots"]),
];

static CERTIFICATE: &[Key] = &[
    Key::new(
        "cert",
        Text(Path),
        "PEM file: the certificate, then its chain; relative to banyan.toml.",
    )
    .required()
    .alias(&["certificate", "chain", "fullchain"]),
    Key::new(
        "key",
        Text(Path),
        "PEM file: its private key, mode 0600; relative to banyan.toml.",
    )
    .required()
    .alias(&["private_key", "privkey"]),
];
