//! From edge to edge: what a miss asks of the shield, and how the shield knows that it is an edge who asks.
//!
//! The edge that a client came to has done what is done once: limits, filters, route, rewrite, headers. The shield gets the
//! request as an instance would, with what it needs beside it: the URI that it is stored under, route and process. The
//! asking edge proves itself by a secret of the installation; the fields of anybody else are taken away. A shield asks no
//! other edge, and `CDN-Loop` (RFC 8586) ends a circle through something outside.

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Uri};

use banyan_topology::ProcessName;
use banyan_topology::snapshot::SHIELD;
use banyan_upstream::retry::Effect;

use super::{Cache, Shared};
use crate::core::groups::{Group, Groups};
use crate::exchange::Exchange;
use crate::forward::body::Source;
use crate::forward::{self, Answer};
use crate::headers::client_address;
use crate::respond::Refusal;

const PROOF: HeaderName = HeaderName::from_static("banyan-edge");
const URI: HeaderName = HeaderName::from_static("banyan-edge-uri");
const ROUTE: HeaderName = HeaderName::from_static("banyan-edge-route");
const PROCESS: HeaderName = HeaderName::from_static("banyan-edge-process");
const CLIENT: HeaderName = HeaderName::from_static("banyan-edge-client");
const UNTRUE: HeaderName = HeaderName::from_static("banyan-edge-untrue");
const LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Where edges ask each other.
pub(crate) struct Hop {
    /// As `CDN-Loop` names this edge.
    own: HeaderValue,
    secret: HeaderValue,
    /// Whom a miss asks; `None`: this is the shield.
    shield: Option<Rc<Group>>,
}

/// What an edge says of a request that it could not answer.
pub(crate) struct Relayed {
    /// As the client asked, before the route's rewrite.
    pub uri: Uri,
    pub route: Option<String>,
    pub process: ProcessName,
    pub client: IpAddr,
    /// The asking edge had it, and something made it untrue: so is what the shield has, which may not have heard.
    pub untrue: bool,
}

impl Hop {
    /// `None`: edges do not ask each other.
    pub(super) fn compile(shared: &Shared, groups: &Groups) -> Option<Self> {
        let secret = shared.secret.get()?.clone();
        let shield = SHIELD.parse().ok().and_then(|process| groups.of(&process));
        Some(Self {
            own: shared.place.clone(),
            secret,
            shield,
        })
    }

    /// Takes what is for edges alone out of a request's fields. `None`: a client's.
    pub(crate) fn take(&self, headers: &mut HeaderMap) -> Result<Option<Relayed>, Refusal> {
        if self.has_passed(headers) {
            return Err(Refusal::Loop);
        }
        let Some(proof) = headers.remove(&PROOF) else {
            return Ok(None);
        };
        let untrue = headers.remove(&UNTRUE).is_some();
        let mut text = |name: HeaderName| Some(headers.remove(name)?.to_str().ok()?.to_owned());
        let (uri, route, process, client) = (text(URI), text(ROUTE), text(PROCESS), text(CLIENT));
        if !same(proof.as_bytes(), self.secret.as_bytes()) {
            return Ok(None);
        }
        let relayed = || {
            Some(Relayed {
                uri: uri?.parse().ok()?,
                route,
                process: process?.parse().ok()?,
                client: client?.parse().ok()?,
                untrue,
            })
        };
        let wrong = Refusal::BadRequest("an edge of another version asks");
        relayed().map(Some).ok_or(wrong)
    }

    /// RFC 8586 §2.
    fn has_passed(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(LOOP).iter();
        let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let name = |entry: &[u8]| {
            entry.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii) == Some(self.own.as_bytes())
        };
        names.into_iter().any(name)
    }

    /// The shield, and the request as it gets it; `None`: the instances are asked.
    fn asking(
        &self,
        exchange: &Exchange,
        (uri, untrue): (&Uri, bool),
        head: &Parts,
    ) -> Option<(Rc<Group>, Parts)> {
        let shield = self.shield.as_ref()?;
        if exchange.relayed.is_some() || exchange.is_grpc() || head.headers.contains_key(UPGRADE) {
            return None;
        }
        shield.endpoints.borrow().eligible().next()?;
        let settings = exchange.core.settings();
        let client = client_address(&head.headers, exchange.peer.address, &settings.trusted_proxies);
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let mut relayed = head.clone();
        let headers = &mut relayed.headers;
        headers.remove(ROUTE);
        headers.remove(UNTRUE);
        if untrue {
            headers.insert(UNTRUE, HeaderValue::from_static("1"));
        }
        if let Some(routed) = &exchange.routed {
            headers.insert(ROUTE, text(routed.name())?);
        }
        headers.insert(PROCESS, text(exchange.group.process()?.as_str())?);
        headers.insert(URI, text(uri.path_and_query()?.as_str())?);
        headers.insert(CLIENT, text(&client.to_string())?);
        headers.insert(PROOF, self.secret.clone());
        headers.append(LOOP, self.own.clone());
        Some((Rc::clone(shield), relayed))
    }
}

/// Without saying by its time how much is the same.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && differ == 0
}

/// What a shield answers that does not know the process: it is a snapshot behind, or ahead.
pub(crate) fn unknown() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
    response
        .headers_mut()
        .insert(PROOF, HeaderValue::from_static("unknown"));
    response
}

/// Asks the shield, if there is one; the instances where it does not answer. `asked`: the URI as the client asked, and
/// whether something has made untrue what was stored under it.
pub(super) async fn send(
    exchange: &mut Exchange,
    cache: &Cache,
    asked: (&Uri, bool),
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    let hop = cache.hop.as_ref();
    let asking = hop.and_then(|hop| hop.asking(exchange, asked, head));
    let Some((shield, relayed)) = asking else {
        return forward::send(exchange, head, source).await;
    };
    let own = std::mem::replace(&mut exchange.group, shield);
    let answer = Box::pin(forward::send(exchange, &relayed, source)).await;
    exchange.group = own;
    let whole = source.is_none_or(|source| source.taken() == 0);
    let again = match &answer {
        Ok(answer) if answer.headers().get(PROOF).is_none() => false,
        Ok(_unknown) if whole => true,
        Ok(_unknown) => return Err(Refusal::BadGateway(Effect::None)),
        Err(Refusal::NoEndpoint | Refusal::Busy | Refusal::BadGateway(_)) => {
            whole && (head.method.is_safe() || !exchange.may_have_acted)
        }
        Err(_) => false,
    };
    if !again {
        return answer;
    }
    // What a shield that broke off has done with a safe request, is nothing.
    exchange.may_have_acted &= !head.method.is_safe();
    forward::send(exchange, head, source).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop() -> Hop {
        Hop {
            own: HeaderValue::from_static("photos-south.banyan"),
            secret: HeaderValue::from_static("s3cret"),
            shield: None,
        }
    }

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        list.iter().map(pair).collect()
    }

    #[test]
    fn only_who_knows_the_secret_is_an_edge_and_the_fields_go_on_to_nobody() {
        let mut headers = fields(&[
            ("banyan-edge", "s3cret"),
            ("banyan-edge-uri", "/a?b=1"),
            ("banyan-edge-process", "web"),
            ("banyan-edge-client", "9.8.7.6"),
        ]);
        let relayed = hop().take(&mut headers).unwrap().unwrap();
        assert_eq!((relayed.uri.path(), relayed.route), ("/a", None));
        assert!(headers.is_empty());
        for wrong in ["s3cre", "s3crets", "S3cret", ""] {
            let mut headers = fields(&[("banyan-edge-uri", "/a")]);
            headers.insert(PROOF, HeaderValue::from_str(wrong).unwrap());
            assert!(hop().take(&mut headers).unwrap().is_none());
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    #[test]
    fn a_request_that_was_here_before_is_a_circle() {
        let was_here = |value: &'static str| hop().take(&mut fields(&[("cdn-loop", value)])).is_err();
        assert!(was_here("other, photos-south.banyan"));
        assert!(was_here("photos-south.banyan;v=1"));
        assert!(!was_here("photos-west.banyan, other"));
    }
}
