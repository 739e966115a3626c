//! What is taken from and added to headers on the way through.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use banyan_config::Network;

use crate::respond::Refusal;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Besides `Connection` and what it names.
pub(crate) const HOP_BY_HOP: [HeaderName; 4] = [
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What only a trusted peer may say of a client or of what it asked for, besides what is set anew. All of `X-Forwarded-*`, for
/// each is believed by some framework, and what leads an app to another path than the one that was judged here.
pub(crate) fn is_claim(name: &str) -> bool {
    if !name.starts_with(['x', 'f']) {
        return false;
    }
    // To apps behind CGI, WSGI or Rack `x_real_ip` is the same variable.
    if name.contains('_') {
        let plain = name.replace('_', "-");
        return is_claim(&plain) || is_said(&plain);
    }
    let said_of_it = [
        "forwarded",
        "x-real-ip",
        "x-original-url",
        "x-original-uri",
        "x-original-host",
        "x-original-forwarded-for",
        "x-rewrite-url",
        "x-url-scheme",
        "front-end-https",
    ];
    (name.starts_with("x-forwarded") && !is_said(name)) || said_of_it.contains(&name)
}

/// What the edge says itself of every request.
fn is_said(name: &str) -> bool {
    let said = [&FORWARDED_FOR, &FORWARDED_PROTO, &FORWARDED_HOST, &REQUEST_ID];
    said.iter().any(|own| own.as_str() == name)
}

/// Whether a request asks for another protocol: the same rule as that of `http1::request`, by which what follows is held back.
pub(crate) fn wants_upgrade(version: http::Version, headers: &HeaderMap) -> bool {
    // In HTTP/2 these fields are refused: there they are of an extended CONNECT.
    (version == http::Version::HTTP_11 || version == http::Version::HTTP_2)
        && headers.contains_key(header::UPGRADE)
        && has_token(headers, header::CONNECTION, "upgrade")
        && !has_token(headers, header::UPGRADE, "h2c")
}

fn has_token(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Whose request it is: the peer, or behind trusted proxies the last address that none of them vouches for.
///
/// Reads `X-Forwarded-For` with the peer's own address appended or not.
pub(crate) fn client_address(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let trusts = |address| trusted.iter().any(|network: &Network| network.contains(address));
    if !trusts(peer) {
        return peer;
    }
    let hops: Vec<_> = tokens(headers, FORWARDED_FOR).collect();
    let addresses = hops.iter().rev().map_while(|hop| hop.parse::<IpAddr>().ok());
    addresses
        .map(|address| address.to_canonical())
        .find(|address| !trusts(*address))
        .unwrap_or(peer)
}

/// Whether the client speaks TLS to us, or to a trusted proxy: of headers as the instance gets them.
pub(crate) fn came_by_https(headers: &HeaderMap) -> bool {
    headers
        .get(FORWARDED_PROTO)
        .is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Fields that `Connection:` may not remove: they decide routing, framing, identity or trust.
pub(crate) fn is_protected(name: &HeaderName) -> bool {
    [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CACHE_CONTROL,
        header::FORWARDED,
        REQUEST_ID,
    ]
    .contains(name)
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str() == "x-real-ip"
}

/// Which of the headers that are treated specially a message has: one look at its names instead of a search for each.
#[derive(Clone, Copy)]
struct Marks(u8);

impl Marks {
    const CONNECTION: u8 = 1;
    /// The other hop-by-hop fields.
    const HOP: u8 = 2;
    const TE: u8 = 4;
    const EXPECT: u8 = 8;
    const CLAIM: u8 = 16;
    /// What the edge says itself.
    const SAID: u8 = 32;

    fn of(headers: &HeaderMap) -> Self {
        let mark = |name: &HeaderName| match name.as_str() {
            "connection" => Self::CONNECTION,
            "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => Self::HOP,
            "te" => Self::TE,
            "expect" => Self::EXPECT,
            "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-request-id" => Self::SAID,
            "traceparent" | "tracestate" => Self::SAID,
            other if is_claim(other) => Self::CLAIM,
            _ => 0,
        };
        Self(headers.keys().fold(0, |marks, name| marks | mark(name)))
    }

    fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }
}

/// Removes what concerns one connection only (RFC 9110 §7.6.1).
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let marks = Marks::of(headers);
    strip(headers, marks);
}

fn strip(headers: &mut HeaderMap, marks: Marks) {
    if marks.has(Marks::CONNECTION) {
        remove_nominated(headers);
        headers.remove(header::CONNECTION);
    }
    if marks.has(Marks::HOP) {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

/// Removes what `Connection` names.
fn remove_nominated(headers: &mut HeaderMap) {
    let usual =
        |value: &[u8]| value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close");
    if headers
        .get_all(header::CONNECTION)
        .iter()
        .all(|value| usual(value.as_bytes()))
    {
        return;
    }
    let nominated: Vec<HeaderName> = tokens(headers, header::CONNECTION)
        .filter(|token| !usual(token.as_bytes()))
        .filter_map(|token| token.parse().ok())
        .filter(|name| !is_protected(name))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
}

/// What the request is rewritten with.
pub(crate) struct Client<'a> {
    pub address: IpAddr,
    /// The address as a header value.
    pub text: &'a HeaderValue,
    pub trusted: bool,
    /// It came by https.
    pub secure: bool,
}

/// What of a request outlives the way to the instance.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept {
    /// The wish for another protocol.
    pub upgrade: bool,
    /// There is a body, so the client may want to be told when to send it.
    pub body: bool,
}

/// Prepares a request's headers for the instance. `late`: who writes the head may introduce the client. True: and it must,
/// the headers say nothing of it.
pub(crate) fn to_instance(
    headers: &mut HeaderMap,
    client: &Client<'_>,
    id: &HeaderValue,
    kept: Kept,
    late: bool,
) -> bool {
    let marks = Marks::of(headers);
    let protocol = if kept.upgrade {
        headers.get(header::UPGRADE).cloned()
    } else {
        None
    };
    let wants_trailers = marks.has(Marks::TE) && wants_trailers(headers);
    strip(headers, marks);
    if marks.has(Marks::TE) {
        headers.remove(header::TE);
    }
    // The only expectation that there is. The client is told to go ahead when its body is read.
    let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if marks.has(Marks::EXPECT) && !(kept.body && headers.get(header::EXPECT).is_some_and(continues)) {
        headers.remove(header::EXPECT);
    }
    if let Some(protocol) = protocol {
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    } else if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    if late && !client.trusted && !marks.has(Marks::CLAIM | Marks::SAID) {
        return true;
    }
    forwarded(headers, client, marks.has(Marks::CLAIM));
    headers.insert(REQUEST_ID, id.clone());
    false
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let te = headers.get(header::TE).and_then(|te| te.to_str().ok());
    te.is_some_and(|te| te.split(',').any(|t| t.trim().eq_ignore_ascii_case("trailers")))
}

fn forwarded(headers: &mut HeaderMap, client: &Client<'_>, claims: bool) {
    if claims && !client.trusted {
        let claims: Vec<HeaderName> = headers
            .keys()
            .filter(|name| is_claim(name.as_str()))
            .cloned()
            .collect();
        for name in claims {
            headers.remove(name);
        }
    }
    let chain = if client.trusted {
        chain(headers, client.address)
    } else {
        None
    };
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|| client.text.clone()));
    if !(client.trusted && headers.contains_key(FORWARDED_PROTO)) {
        let scheme = if client.secure { "https" } else { "http" };
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !(client.trusted && headers.contains_key(FORWARDED_HOST)) {
        match headers.get(header::HOST).cloned() {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
}

/// What a trusted peer said, with the peer itself at the end.
fn chain(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut text = String::new();
    for value in headers.get_all(FORWARDED_FOR) {
        text.push_str(value.to_str().ok()?);
        text.push_str(", ");
    }
    text.push_str(&peer.to_string());
    HeaderValue::from_str(&text).ok()
}

/// The target as the instance gets it: origin form; an absolute target's host must be the Host.
pub(crate) fn origin_form(
    uri: &http::Uri,
    headers: &HeaderMap,
    secure: bool,
) -> Result<Option<http::Uri>, Refusal> {
    let Some(authority) = uri.authority() else {
        return Ok(None);
    };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let (scheme, port) = if secure {
        ("https", ":443")
    } else {
        ("http", ":80")
    };
    let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    let same = |host: &str| bare(host) == bare(authority.as_str());
    if uri.scheme_str() != Some(scheme) || authority.as_str().contains('@') || !host.is_none_or(same) {
        return Err(Refusal::BadRequest(
            "the target's host differs from the Host header",
        ));
    }
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    path.parse()
        .map(Some)
        .map_err(|_| Refusal::BadRequest("the target is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn passed(headers: &mut HeaderMap, trusted: bool, late: bool) -> bool {
        let text = HeaderValue::from_static("10.0.0.9");
        let client = Client {
            address: IpAddr::from([10, 0, 0, 9]),
            text: &text,
            trusted,
            secure: false,
        };
        let id = HeaderValue::from_static("id-1");
        to_instance(headers, &client, &id, Kept::default(), late)
    }

    fn sent(pairs: &[(&'static str, &'static str)], trusted: bool) -> HeaderMap {
        let mut headers = map(pairs);
        passed(&mut headers, trusted, false);
        headers
    }

    #[test]
    fn only_of_strangers_who_say_nothing_of_themselves_is_it_said_later() {
        let late = |name: &'static str, trusted| {
            let mut headers = map(&[("host", "a"), ("accept", "*/*"), (name, "1")]);
            let late = passed(&mut headers, trusted, true);
            assert_eq!(headers.contains_key(REQUEST_ID), !late, "{name}");
            late
        };
        assert!(late("x-other", false) && !late("x-other", true));
        for name in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-request-id",
            "traceparent",
            "tracestate",
            "forwarded",
            "x-real-ip",
        ] {
            assert!(!late(name, false), "{name}");
        }
    }

    #[test]
    fn claims_of_an_untrusted_peer_are_replaced() {
        let headers = sent(
            &[
                ("host", "a"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("x-real-ip", "1.1.1.1"),
                ("forwarded", "for=1.1.1.1"),
            ],
            false,
        );
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "a");
        assert!(!headers.contains_key("x-real-ip") && !headers.contains_key("forwarded"));
    }

    proptest::proptest! {
        #[test]
        fn a_claim_is_one_in_any_spelling(
            name in proptest::sample::select(&[
                "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-ssl", "x-forwarded", "x-real-ip",
                "x-request-id", "x-original-url", "front-end-https", "forwarded",
            ][..]),
            lines in proptest::collection::vec(proptest::bool::ANY, 4),
        ) {
            let mut lines = lines.into_iter();
            let spelled: String = name
                .chars()
                .map(|c| if c == '-' && lines.next() == Some(true) { '_' } else { c })
                .collect();
            let is_own = spelled == name && is_said(name);
            proptest::prop_assert_eq!(is_claim(&spelled), !is_own, "{}", spelled);
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("a"));
            headers.insert(HeaderName::try_from(spelled).unwrap(), HeaderValue::from_static("evil"));
            passed(&mut headers, false, false);
            proptest::prop_assert!(headers.values().all(|value| value != "evil"));
        }
    }

    #[test]
    fn claims_of_a_trusted_peer_are_kept_and_continued() {
        let headers = sent(
            &[
                ("host", "a"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop.example"),
            ],
            true,
        );
        assert_eq!(headers["x-forwarded-for"], "1.1.1.1, 2.2.2.2, 10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
    }

    #[test]
    fn connection_cannot_remove_what_decides_trust() {
        let headers = sent(
            &[
                ("host", "a"),
                (
                    "connection",
                    "close, x-custom, cookie, x-forwarded-for, x-request-id, host",
                ),
                ("x-custom", "1"),
                ("cookie", "c=1"),
                ("keep-alive", "timeout=5"),
                ("te", "trailers, deflate"),
            ],
            false,
        );
        assert!(!headers.contains_key("x-custom") && !headers.contains_key("keep-alive"));
        assert_eq!(headers["cookie"], "c=1");
        assert_eq!(headers["host"], "a");
        assert_eq!(headers["x-request-id"], "id-1");
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn an_absolute_target_must_agree_with_host() {
        let form = |target: &str, host| origin_form(&target.parse().unwrap(), &map(&[("host", host)]), false);
        assert_eq!(
            form("http://a:80/x?y=1", "A"),
            Ok(Some("/x?y=1".parse().unwrap()))
        );
        assert_eq!(form("/x", "a"), Ok(None));
        assert!(form("http://b/x", "a").is_err());
        assert!(form("http://u@a/x", "a").is_err());
    }
}
