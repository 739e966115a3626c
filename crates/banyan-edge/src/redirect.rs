//! Plain requests go to https, where that is wanted.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Uri};

use crate::exchange::Exchange;
use crate::headers::FORWARDED_PROTO;
use crate::respond::Refusal;

/// `Err`: the client is sent to the same place by https. A trusted proxy that speaks https itself is not.
pub(crate) fn to_https(exchange: &mut Exchange, head: &Parts) -> Result<(), Refusal> {
    let Some(port) = exchange.core.redirect_to().filter(|_| !exchange.peer.secure) else {
        return Ok(());
    };
    let forwarded = head
        .headers
        .get(FORWARDED_PROTO)
        .is_some_and(|scheme| scheme == "https");
    if forwarded && exchange.core.settings().trusts(exchange.peer.address) {
        return Ok(());
    }
    // Without a Host (HTTP/1.0) nobody knows where to.
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(location) = host.and_then(|host| location(host, port, &head.uri)) else {
        return Ok(());
    };
    exchange.location = Some(location);
    Err(Refusal::UseHttps {
        keep_method: ![Method::GET, Method::HEAD].contains(&head.method),
    })
}

fn location(host: &str, port: u16, uri: &Uri) -> Option<HeaderValue> {
    let name = match host.rsplit_once(':') {
        Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let path = if path.starts_with('/') { path } else { "/" };
    let text = match port {
        443 => format!("https://{name}{path}"),
        _ => format!("https://{name}:{port}{path}"),
    };
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_stays_and_the_port_becomes_that_of_https() {
        for (host, port, path, expected) in [
            ("shop.example", 443, "/a?b=c", "https://shop.example/a?b=c"),
            ("shop.example:80", 443, "/", "https://shop.example/"),
            ("127.0.0.1:8080", 8443, "/x", "https://127.0.0.1:8443/x"),
            ("[::1]:8080", 8443, "/", "https://[::1]:8443/"),
            ("[::1]", 443, "/", "https://[::1]/"),
        ] {
            assert_eq!(location(host, port, &path.parse().unwrap()).unwrap(), expected);
        }
    }
}
