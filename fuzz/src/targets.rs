//! What is fuzzed, and what must hold of it besides that nothing panics.

use std::path::Path;
use std::sync::OnceLock;

use banyan_config::{FileError, Loaded, Route, Source, Sources};
use banyan_edge::route::{Asked, Table};
use banyan_edge::{fuzz, proxy_protocol, sni};
use http::HeaderMap;

use crate::{Target, sql};

pub const TARGETS: &[Target] = &[
    Target {
        name: "http1_requests",
        run: http1_requests,
        words: HTTP,
    },
    Target {
        name: "http1_answers",
        run: http1_answers,
        words: HTTP,
    },
    Target {
        name: "proxy_protocol",
        run: proxy,
        words: &[
            "PROXY TCP4 ",
            "PROXY TCP6 ",
            "UNKNOWN",
            "\r\n",
            "\r\n\r\n\0\r\nQUIT\n",
            "255.255.255.255",
            "::",
            "65535",
            "0",
        ],
    },
    Target {
        name: "sni",
        run: server_name,
        words: &[
            "\x16\x03\x01",
            "\x16\x03\x03",
            "\x01\0\0",
            "\0\0",
            "\0\0\0",
            "a.example",
            ".",
            "\0\x10",
        ],
    },
    Target {
        name: "config",
        run: config,
        words: &[
            "[edge]",
            "[[route]]",
            "[app]",
            "[edge.tls]",
            "{",
            "}",
            "=",
            "\"",
            "'''",
            "\n",
            "match",
            "to",
            "path",
            "host",
            "10s",
            "0",
            "-1",
            "true",
            "[",
            "]",
            "weight",
        ],
    },
    Target {
        name: "routes",
        run: routes,
        words: &[
            "/",
            "//",
            "..",
            "%2e",
            "%2f",
            "%00",
            "%",
            "?",
            "&",
            "=",
            ";",
            "\0",
            ":",
            "a.example",
            "*",
            "%zz",
        ],
    },
    Target {
        name: "accept_encoding",
        run: accept_encoding,
        words: &[
            "gzip", "x-gzip", "br", "zstd", "*", "identity", ",", ";", "q=", "Q=", "0.", "1.000", "0.001",
            " ", "\t", "=",
        ],
    },
    Target {
        name: "part_targets",
        run: part_targets,
        words: &[
            "{path}", "{rest}", "{query}", "{id}", "{", "}", "/", "..", "%2f", "%2e", "?", "&", "\n", "//",
            "\\",
        ],
    },
    Target {
        name: "path_templates",
        run: path_templates,
        words: &[
            "{",
            "}",
            "=",
            "*",
            "**",
            "/",
            ":",
            ".",
            "{id}",
            "{name=shelves/*}",
            "\n",
            "//",
            "_",
        ],
    },
    Target {
        name: "tokens",
        run: tokens,
        words: &[
            ".", "..", "=", "-", "_", "eyJ", "bnVsbA", "none", "RS256", "HS256", "{", "}", "[", "]", ",",
            "\"keys\"", "\"kty\"", "\"alg\"", "\"kid\"", "\"crit\"", "\"use\"", "\"enc\"", "oct", "OKP",
            "Ed25519", "AQAB", "null", "1e999",
        ],
    },
    Target {
        name: "sql",
        run: sql::statements,
        words: sql::WORDS,
    },
    Target {
        name: "function_bodies",
        run: sql::function_bodies,
        words: sql::WORDS,
    },
];

const HTTP: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    ":",
    " ",
    "\t",
    "\0",
    "0\r\n\r\n",
    "HTTP/1.1",
    "HTTP/1.0",
    "GET / HTTP/1.1\r\nHost: a\r\n",
    "Host: a\r\n",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Upgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "5",
    "ffffffffffffffff",
    "18446744073709551616",
    ";x=y",
    "HTTP/1.1 200 OK\r\n",
    "100",
    "304",
];

/// How the bytes come must not matter for what they mean: the first byte says how they are cut.
fn cut(input: &[u8]) -> (usize, &[u8]) {
    match input.split_first() {
        Some((first, rest)) => (usize::from(*first).max(1), rest),
        None => (1, input),
    }
}

fn http1_requests(input: &[u8]) {
    let (size, bytes) = cut(input);
    assert_eq!(
        fuzz::requests(bytes, usize::MAX),
        fuzz::requests(bytes, size),
        "in pieces of {size}"
    );
}

fn http1_answers(input: &[u8]) {
    let (size, bytes) = cut(input);
    assert_eq!(
        fuzz::answers(bytes, usize::MAX),
        fuzz::answers(bytes, size),
        "in pieces of {size}"
    );
}

/// More bytes never change what a whole header means, and never make a good beginning of a bad one.
fn proxy(input: &[u8]) {
    use proxy_protocol::{LONGEST, Parsed, parse};
    let whole = parse(input);
    if let Ok(Parsed::Whole { used, .. }) = whole {
        assert!(used <= input.len() && used <= LONGEST, "{used} bytes used");
        assert_eq!(parse(&input[..used]), whole, "what follows it changes it");
        for length in 0..used {
            assert_eq!(
                parse(&input[..length]),
                Ok(Parsed::Partial),
                "its first {length} bytes"
            );
        }
    }
}

/// As of a PROXY header: what is known of a hello, its first bytes alone do not say otherwise; a name is one.
fn server_name(input: &[u8]) {
    use sni::{LONGEST, Parsed, parse};
    let whole = parse(input);
    if let Ok(Parsed::Whole { name }) = &whole {
        for length in (0..input.len().min(LONGEST)).step_by(1 + input.len() / 64) {
            let begun = parse(&input[..length]);
            assert!(
                begun == whole || begun == Ok(Parsed::Partial),
                "its first {length} bytes: {begun:?}"
            );
        }
        if let Some(name) = name {
            let plain = name
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
            assert!(plain && !name.is_empty() && name.len() <= 255, "{name:?}");
        }
    }
}

/// Nobody has the private keys: whatever is believed says what was signed once. Any text is a set of keys or none.
fn tokens(input: &[u8]) {
    const SET: &str = include_str!("../../crates/banyan-edge/tests/edge/filters/keys/set.json");
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(claims) = fuzz::token(SET, text) {
        let signed = serde_json::json!({ "sub": "ann", "roles": ["clerk"], "exp": 4_102_444_800_u64 });
        assert_eq!(claims, signed);
    }
    let _any = fuzz::token(text, "e30.e30.");
}

/// Weights are within their range, and it does not matter over how many lines a list is spread.
fn accept_encoding(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let whole = fuzz::accept_encoding([text].into_iter());
    assert!(whole.iter().all(|weight| *weight <= 1000), "{whole:?}");
    assert_eq!(whole, fuzz::accept_encoding(text.split(',')), "line by line");
}

/// Lines: a target, a path, a query. Whatever the client writes, what comes of it is one plain path and a query.
fn part_targets(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (target, path, query) = (line(), line(), line());
    if let Some(filled) = fuzz::part_target(target, path, query) {
        let path = filled.split('?').next().unwrap_or_default();
        assert!(path.starts_with('/') && !path.contains("//"), "{filled}");
        assert!(
            !path
                .split('/')
                .any(|part| [".", "..", "%2e", "%2E"].contains(&part)),
            "{filled}"
        );
    }
}

/// Lines: a template, a path. What a variable takes is a part of the path, and empty only where `**` may be.
fn path_templates(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let (template, path) = text.split_once('\n').unwrap_or((text, "/"));
    for value in banyan_transcode::captures(template, path).unwrap_or_default() {
        assert!(path.contains(&value), "{value:?} is not in {path:?}");
        assert!(
            !value.is_empty() || template.contains("**"),
            "{template:?} of {path:?}"
        );
    }
}

fn loaded(text: &[u8]) -> Result<Loaded, String> {
    let sources = Sources {
        main: Source::new("banyan.toml", text),
        overlay: None,
        files: &|_: &Path| Err(FileError::Missing),
        certificates: &|_, _| Ok(vec!["a.example".to_owned()]),
    };
    banyan_config::load(&sources).map_err(|errors| errors.to_string())
}

fn rules(loaded: &Loaded) -> Vec<Route> {
    let edge = loaded.config.edge.as_ref();
    edge.map(|edge| edge.routes.clone()).unwrap_or_default()
}

/// Any text gives a configuration or errors, always the same; the routes of a good one can be compiled.
fn config(input: &[u8]) {
    let first = loaded(input);
    let again = loaded(input);
    match (first, again) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.config, other.config);
            let compiled = Table::compile(&rules(&one)).map(drop);
            assert_eq!(compiled, Ok(()), "the check let through what cannot be compiled");
        }
        (Err(one), Err(other)) => assert!(one == other && !one.is_empty(), "{one}\n{other}"),
        (one, other) => panic!("once good, once not: {:?} {:?}", one.is_ok(), other.is_ok()),
    }
}

const ROUTES: &str = include_str!("../corpus/config/routes.toml");

/// Compiled once.
fn example() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let example = loaded(ROUTES.as_bytes()).expect("a good example");
        Table::compile(&rules(&example)).expect("it compiles")
    })
}

/// Lines: method, host, path, query, headers. Who serves and who explains must agree.
fn routes(input: &[u8]) {
    let table = example();
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (method, host, path, query) = (next(), next(), next(), next());
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Some((name, value)) = line.split_once(':')
            && let (Ok(name), Ok(value)) = (name.parse::<http::HeaderName>(), value.trim().parse())
        {
            headers.append(name, value);
        }
    }
    let asked = Asked {
        method,
        host,
        path,
        query: (!query.is_empty()).then_some(query),
        headers: &headers,
    };
    let (one, other) = (table.explain(&asked), table.explain(&asked));
    assert_eq!(one, other);
    let winners = one
        .candidates
        .iter()
        .filter(|c| c.fate == banyan_edge::route::Fate::Wins)
        .count();
    assert_eq!(winners, usize::from(one.route.is_some()), "{one:?}");
}
