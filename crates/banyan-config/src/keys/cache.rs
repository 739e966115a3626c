//! `[edge.cache]`: what the edge keeps of answers.

use super::Kind::{Boolean, Bytes, Duration, Integer, List, OneOf, Switch, Table, Text};
use super::Rule::{Name, NotEmpty, Path, SocketAddress, UrlPath};
use super::{HOUR, Key, MIB, TIB};

const YEAR: u64 = 365 * 24 * HOUR;

pub(super) static CACHE: &[Key] = &[
    Key::new(
        "memory",
        Bytes { min: MIB, max: TIB },
        "Memory for what is kept. No single answer may take more than an eighth of it.",
    )
    .default("\"256MiB\"")
    .alias(&["size", "max_size", "memory_limit"]),
    Key::new(
        "disk",
        Bytes { min: 16 * MIB, max: TIB },
        "Room on the disk for what outlives the edge's process, per edge. Default: none.",
    )
    .alias(&["disk_size", "storage"]),
    Key::new(
        "profile",
        OneOf(&["safe", "rfc"]),
        "\"rfc\": all that RFC 9111 allows. \"safe\": nothing with Set-Cookie, no guessing but for assets, reloads do not reach the app.",
    )
    .default("\"safe\""),
    Key::new(
        "policy",
        OneOf(&["s3_fifo", "lru", "lfu", "fifo"]),
        "What leaves the memory first: what was asked for only once (s3_fifo), used longest ago (lru), least often (lfu), or came first (fifo).",
    )
    .default("\"s3_fifo\"")
    .alias(&["eviction", "eviction_policy"]),
    Key::new(
        "shield",
        Text(Name),
        "The place whose edge all other edges ask on a miss: [edge.place] or \"edge\". Default: each asks the app.",
    )
    .alias(&["parent", "origin_shield", "upstream"]),
    Key::new(
        "rules",
        List(&Table(RULES)),
        "What the answers' headers leave open, by path; the first that matches counts.",
    )
    .alias(&["rule", "paths", "locations"]),
    Key::new(
        "purge",
        Table(PURGE),
        "Takes purges over HTTP: POST /purge, for whoever has the token. `banyan purge` needs none of it.",
    ),
    Key::new(
        "warm",
        Table(WARM),
        "What `banyan deploy` has every edge of this machine fetch once the new release serves. Default: nothing.",
    )
    .alias(&["prefetch", "preload", "warmup"]),
];

static WARM: &[Key] = &[
    Key::new(
        "urls",
        List(&Text(NotEmpty)),
        "Whole URLs, as visitors ask for them, or what stands behind `base`.",
    )
    .alias(&["url", "paths"]),
    Key::new(
        "sitemap",
        Text(Path),
        "A file of the sitemap protocol: all that it lists.",
    ),
    Key::new(
        "manifest",
        Text(Path),
        "What a bundler wrote (webpack, Vite): the files that it names.",
    ),
    Key::new(
        "base",
        Text(NotEmpty),
        "Where URLs without scheme and host are: \"https://shop.example/assets\".",
    ),
    Key::new(
        "rate",
        Integer { min: 1, max: 10_000 },
        "Requests a second at most, over all edges.",
    )
    .default("50"),
];

static PURGE: &[Key] = &[
    Key::new(
        "listen",
        Text(SocketAddress),
        "Address and port, on loopback: there is no TLS.",
    )
    .default("\"127.0.0.1:9466\"")
    .alias(&["address", "port", "bind"]),
    Key::new(
        "token_file",
        Text(Path),
        "Holds the token, for nobody else to read. Default: one that Banyan makes, .banyan/secrets/purge-token.",
    )
    .alias(&["token", "secret_file"]),
];

static RULES: &[Key] = &[
    Key::new(
        "path",
        Text(UrlPath),
        "As the client asks; `*` is any run of characters: \"/static/*\", \"/*.css\".",
    )
    .required()
    .alias(&["match", "prefix", "url"]),
    Key::new(
        "store",
        Boolean,
        "false: nothing under this path is kept, whatever its headers say.",
    )
    .default("true")
    .alias(&["enabled", "cache"]),
    Key::new(
        "class",
        OneOf(&["html", "api", "image", "versioned"]),
        "Times for a kind of content: html 5 min, api 1 min, image 1 week, versioned 1 year (the address changes with the content).",
    )
    .alias(&["kind", "type"]),
    Key::new(
        "ttl",
        Duration { min: 0, max: YEAR },
        "How long an answer is fresh that does not say so itself.",
    )
    .alias(&["edge_ttl", "max_age", "expires"]),
    Key::new(
        "override",
        Boolean,
        "true: `ttl` counts also where the answer says another time. Never over no-store, private or Set-Cookie.",
    )
    .default("false")
    .alias(&["force"]),
    Key::new(
        "browser_ttl",
        Duration { min: 0, max: YEAR },
        "The max-age that browsers are told instead of the app's.",
    )
    .alias(&["client_ttl"]),
    Key::new(
        "stale_while_revalidate",
        Duration { min: 0, max: YEAR },
        "So long past its time an answer still goes out at once, while a new one is fetched. The app's own word goes before.",
    )
    .alias(&["swr"]),
    Key::new(
        "stale_if_error",
        Duration { min: 0, max: YEAR },
        "So long past its time an answer stands in for an app that fails. The app's own word goes before.",
    )
    .default("\"1h\"")
    .alias(&["sie", "grace"]),
    Key::new(
        "negative_ttl",
        Duration { min: 0, max: HOUR },
        "How long a 404 or 410 that says nothing is kept (profile \"safe\").",
    )
    .default("\"10s\""),
    Key::new(
        "query",
        List(&Text(NotEmpty)),
        "Parameters that make another resource; all others are ignored. []: none counts. Default: the whole query as it is.",
    )
    .alias(&["query_string", "params"]),
    Key::new(
        "strip_cookies",
        Boolean,
        "true: answers are kept without their Set-Cookie, and no client of this path gets one.",
    )
    .default("false")
    .alias(&["ignore_set_cookie"]),
    Key::new(
        "tags",
        List(&Text(NotEmpty)),
        "Names by which a purge reaches these answers, beside those of Surrogate-Key, Cache-Tag and Cache-Groups.",
    )
    .default("[]")
    .alias(&["tag", "surrogate_keys"]),
    Key::new(
        "image",
        Switch(IMAGE),
        "Pictures in the size and format that a client wants: ?w=400&q=70&fmt=webp, or by Accept and Sec-CH-Width.",
    )
    .alias(&["images", "pictures", "resize"]),
];

pub(crate) static IMAGE: &[Key] = &[
    Key::new(
        "widths",
        List(&Integer { min: 1, max: 8192 }),
        "In pixels; others get the next larger one. Never larger than the picture is.",
    )
    .default("[160, 320, 480, 640, 960, 1280, 1920, 2560]")
    .alias(&["sizes", "width"]),
    Key::new(
        "quality",
        Integer { min: 1, max: 100 },
        "Without ?q=; which counts as 40, 55, 70, 85 or 95.",
    )
    .default("85"),
    Key::new(
        "formats",
        List(&OneOf(&["avif", "webp", "jpeg"])),
        "That may be made, best first. AVIF is made in the background, WebP or JPEG answer meanwhile.",
    )
    .default("[\"avif\", \"webp\", \"jpeg\"]")
    .alias(&["format"]),
];
