//! What texts and chosen keys must look like.

use std::net::{IpAddr, SocketAddr};

use super::Wrong;
use crate::backup::TimeOfDay;
use crate::filter::parse_rate;
use crate::keys::{RESERVED_SETTINGS, Rule, SET_BY_BANYAN};
use crate::name::ProcessName;
use crate::pooling::Reads;
use crate::route::Network;
use crate::secrets::is_variable_name;

pub(super) fn check(rule: Rule, text: &str) -> Option<Wrong> {
    if text.contains('\0') {
        return Some(Wrong::new("contains a zero byte", "remove it"));
    }
    match rule {
        Rule::Template => None,
        Rule::NotEmpty | Rule::Path | Rule::Command if text.trim().is_empty() => Some(Wrong::new(
            "is empty",
            "write a value, or put `#` in front of the line",
        )),
        Rule::NotEmpty | Rule::Path | Rule::Command => None,
        Rule::Name => name(text),
        Rule::Variable => variable(text),
        Rule::Identifier => identifier(text),
        Rule::Setting => setting(text),
        Rule::RedisSetting => crate::redis::check_setting(text),
        Rule::Reads => reads(text),
        Rule::TimeOfDay => time_of_day(text),
        Rule::UrlPath => url_path(text),
        Rule::Network => network(text),
        Rule::Rate => rate(text),
        Rule::SocketAddress => socket_address(text),
        Rule::Cookie => cookie(text),
        Rule::ExtensionHeader => extension_header(text),
        Rule::HeaderName => header_name(text),
        Rule::Domain => domain(text),
    }
}

fn name(text: &str) -> Option<Wrong> {
    let _not_a_name = text.parse::<ProcessName>().err()?;
    let mut help = vec!["1 to 32 lower case letters, digits or hyphens, beginning with a letter".to_owned()];
    if let Some(suggestion) = suggest_name(text) {
        help.insert(0, format!("write `{suggestion}`"));
    }
    Some(Wrong {
        message: format!("cannot be `{text}`"),
        help,
    })
}

/// `My_Shop 2` → `my-shop-2`.
pub(crate) fn suggest_name(text: &str) -> Option<String> {
    let lower = text.trim().to_lowercase();
    let mut name = String::new();
    for c in lower.chars() {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if !name.is_empty() && !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name: String = name
        .trim_start_matches(|c: char| !c.is_ascii_lowercase())
        .chars()
        .take(32)
        .collect();
    let name = name.trim_end_matches('-').to_owned();
    name.parse::<ProcessName>().is_ok().then_some(name)
}

fn variable(text: &str) -> Option<Wrong> {
    if !is_variable_name(text) {
        let rule = "letters, digits and underscores, not beginning with a digit";
        return Some(Wrong::new("cannot name an environment variable", rule));
    }
    let reserved = SET_BY_BANYAN.contains(&text);
    reserved.then(|| {
        Wrong::new(
            "is set by Banyan, differently for every instance",
            "remove this line; the app reads the variable as it is",
        )
    })
}

fn identifier(text: &str) -> Option<Wrong> {
    let sound = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let reserved = ["postgres", "template0", "template1"].contains(&text) || text.starts_with("pg_");
    if reserved {
        return Some(Wrong::new(
            format!("cannot be `{text}`: PostgreSQL uses that name"),
            "choose another name",
        ));
    }
    (!sound).then(|| {
        Wrong::new(
            format!("cannot be `{text}`"),
            "1 to 63 lower case letters, digits or underscores, beginning with a letter",
        )
    })
}

fn time_of_day(text: &str) -> Option<Wrong> {
    let unsound = text.parse::<TimeOfDay>().is_err();
    unsound.then(|| {
        Wrong::new(
            format!("cannot be \"{text}\""),
            "write hours and minutes of a day, UTC: \"03:00\"",
        )
    })
}

fn reads(text: &str) -> Option<Wrong> {
    if text.parse::<Reads>().is_ok() {
        return None;
    }
    let help = match text.split_once(':') {
        Some(("bounded", lag)) => {
            return super::units::duration(lag, 1, 3_600_000)
                .map(|wrong| Wrong {
                    message: format!("bounded {}", wrong.message),
                    help: vec!["write \"bounded:500ms\"".to_owned()],
                })
                .or_else(|| {
                    Some(Wrong::new(
                        format!("cannot be \"{text}\""),
                        "write \"bounded:500ms\"",
                    ))
                });
        }
        _ if text == "bounded" => "write how far behind: \"bounded:500ms\"",
        _ if text == "off" || text == "none" => "write \"primary\"",
        _ => "write \"fresh\", \"session\", \"bounded:500ms\" or \"primary\"",
    };
    Some(Wrong::new(format!("cannot be \"{text}\""), help))
}

fn setting(text: &str) -> Option<Wrong> {
    if let Some((_, instead)) = RESERVED_SETTINGS.iter().find(|(name, _)| *name == text) {
        return Some(Wrong::new("cannot be set here", *instead));
    }
    let sound = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
    (!sound).then(|| {
        Wrong::new(
            "is not a PostgreSQL setting",
            "names are lower case letters, digits and underscores: work_mem",
        )
    })
}

fn url_path(text: &str) -> Option<Wrong> {
    if text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let path = text.split_once("://").map_or(text, |(_, rest)| {
        rest.find('/').map_or("/", |slash| &rest[slash..])
    });
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let help = if path.bytes().all(|b| b.is_ascii_graphic()) {
        format!("write \"{path}\"")
    } else {
        "write a path such as \"/healthz\"; URL-encode spaces and letters beyond ASCII".to_owned()
    };
    Some(Wrong::new(
        format!("cannot be \"{text}\": only a path, beginning with `/`"),
        help,
    ))
}

fn rate(text: &str) -> Option<Wrong> {
    if parse_rate(text).is_some() {
        return None;
    }
    let help = "write requests per time: \"100/1s\", \"20/1m\", \"1000/1d\"";
    Some(Wrong::new(format!("cannot be `{text}`"), help))
}

fn socket_address(text: &str) -> Option<Wrong> {
    if text
        .parse::<SocketAddr>()
        .is_ok_and(|address| address.port() != 0)
    {
        return None;
    }
    let port = text.trim_start_matches(':').parse::<u16>().ok();
    let help = match (
        port.filter(|port| *port != 0),
        text.strip_prefix("localhost:"),
        text.parse::<IpAddr>(),
    ) {
        (Some(port), ..) => format!("write \"127.0.0.1:{port}\""),
        (None, Some(port), _) => format!("write \"127.0.0.1:{port}\""),
        (None, None, Ok(address)) => format!("write \"{}\"", SocketAddr::new(address, 9464)),
        (None, None, Err(_)) => "write an address and a port, for example \"127.0.0.1:9464\"".to_owned(),
    };
    Some(Wrong::new(format!("cannot be \"{text}\""), help))
}

fn cookie(text: &str) -> Option<Wrong> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(sound) {
        return None;
    }
    let rule = "1 to 64 letters, digits, underscores or hyphens";
    Some(Wrong::new(format!("cannot be `{text}`"), rule))
}

fn extension_header(text: &str) -> Option<Wrong> {
    let lower = text.to_ascii_lowercase();
    let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let taken = lower.starts_with("x-forwarded-") || ["x-request-id", "x-real-ip"].contains(&lower.as_str());
    let fits = (3..=64).contains(&text.len()) && lower.starts_with("x-") && text.bytes().all(sound);
    if fits && !taken {
        return None;
    }
    let rule = "X- and letters, digits or hyphens, such as \"X-Request-Timeout-Ms\"; not one that the edge sets itself";
    Some(Wrong::new(format!("cannot be `{text}`"), rule))
}

/// As certificates and Host headers have it: no scheme, no port, ASCII.
pub(crate) fn is_domain(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn domain(text: &str) -> Option<Wrong> {
    if is_domain(text) || text.parse::<IpAddr>().is_ok() {
        return None;
    }
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.split(['/', ':']).next().unwrap_or_default();
    let help = if is_domain(bare) {
        format!("write \"{bare}\"")
    } else {
        "write a name such as \"shop.example\"; letters beyond ASCII in their xn-- form".to_owned()
    };
    Some(Wrong::new(
        format!("cannot contain \"{text}\": it is not a domain"),
        help,
    ))
}

fn network(text: &str) -> Option<Wrong> {
    if text.parse::<Network>().is_ok() {
        return None;
    }
    let help = "write addresses and networks: [\"10.0.0.5\", \"10.1.0.0/16\"]";
    Some(Wrong::new(format!("cannot contain \"{text}\""), help))
}

fn header_name(text: &str) -> Option<Wrong> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !text.is_empty() && text.bytes().all(token) {
        return None;
    }
    Some(Wrong::new(
        "cannot be a header's name",
        "write the name alone, for example x-frame-options",
    ))
}
