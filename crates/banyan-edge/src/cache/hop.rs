//! From edge to edge: what a miss asks of another one, and how that knows that it is an edge who asks.
//!
//! The edge that a client came to has done what is done once: limits, filters, route, rewrite, headers. The shield gets the
//! request as an instance would, with what it needs beside it: the URI that it is stored under, route and process. The
//! asking edge proves itself by a secret of the installation; the fields of anybody else are taken away.
//!
//! At most two hops, in this order: to the edge beside this one whose key it is, and from there, or past it, to the shield.
//! Who was asked as an edge beside another asks no edge beside it, a shield asks no other edge at all, and `CDN-Loop`
//! (RFC 8586) ends a circle through something outside.

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, UPGRADE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Uri};

use banyan_config::Cache as Settings;
use banyan_topology::ProcessName;
use banyan_upstream::retry::Effect;

use super::followed::Followed;
use super::owner::Site;
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
const BESIDE: HeaderName = HeaderName::from_static("banyan-edge-beside");
const PURGES: HeaderName = HeaderName::from_static("banyan-edge-purges");
const UNTRUE: HeaderName = HeaderName::from_static("banyan-edge-untrue");
const LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// Where edges ask each other.
pub(crate) struct Hop {
    /// As `CDN-Loop` names this edge.
    own: HeaderValue,
    secret: HeaderValue,
    /// With whom this edge shares what it keeps.
    beside: Option<Site>,
    /// Whom a miss asks; `None`: this is the shield, or there is none.
    shield: Option<Site>,
}

/// What an edge says of a request that it could not answer.
pub(crate) struct Relayed {
    /// As the client asked, before the route's rewrite.
    pub uri: Uri,
    pub route: Option<String>,
    pub process: ProcessName,
    pub from: FromEdge,
    /// The asking edge knows of something that makes what this one has untrue.
    pub untrue: bool,
}

/// Of a request that another edge asks.
#[derive(Clone, Copy)]
pub(crate) struct FromEdge {
    /// Whose request it is.
    pub client: IpAddr,
    /// They share what they keep; else this one is asked as the shield.
    pub beside: bool,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Wish<'a> {
    /// As the client asked.
    pub uri: &'a Uri,
    /// Under which it is stored.
    pub key: &'a str,
    /// Something has made untrue what was stored under it.
    pub untrue: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Beside,
    Shield,
}

impl Hop {
    /// `None`: edges do not ask each other.
    pub(super) fn compile(settings: &Settings, shared: &Shared, groups: &Groups) -> Option<Self> {
        let secret = shared.secret.get()?.clone();
        let (beside, shield) = Site::compile(settings, &shared.at, groups);
        Some(Self {
            own: shared.place.clone(),
            secret,
            beside,
            shield,
        })
    }

    /// Takes what is for edges alone out of a request's fields. `None`: a client's.
    pub(crate) fn take(
        &self,
        headers: &mut HeaderMap,
        followed: &Followed,
    ) -> Result<Option<Relayed>, Refusal> {
        if self.has_passed(headers) {
            return Err(Refusal::Loop);
        }
        let Some(proof) = headers.remove(&PROOF) else {
            return Ok(None);
        };
        let untrue = headers.remove(&UNTRUE).is_some();
        let beside = headers.remove(&BESIDE).is_some();
        let mut text = |name: HeaderName| Some(headers.remove(name)?.to_str().ok()?.to_owned());
        let (uri, route, process, client) = (text(URI), text(ROUTE), text(PROCESS), text(CLIENT));
        let purges = text(PURGES);
        if !same(proof.as_bytes(), self.secret.as_bytes()) {
            return Ok(None);
        }
        let relayed = || {
            Some(Relayed {
                uri: uri?.parse().ok()?,
                route,
                process: process?.parse().ok()?,
                from: FromEdge {
                    client: client?.parse().ok()?,
                    beside,
                },
                untrue: untrue || purges.is_some_and(|word| followed.is_behind(&word)),
            })
        };
        let wrong = Refusal::BadRequest("an edge of another version asks");
        relayed().map(Some).ok_or(wrong)
    }

    /// Whether this edge keeps it for all that it shares with.
    pub(super) fn owns(&self, key: &str) -> bool {
        self.beside.as_ref().is_none_or(|site| site.of(key).is_none())
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

    /// Who is asked that way; `None`: nobody.
    fn whom(&self, way: Way, exchange: &Exchange, wish: Wish<'_>, head: &Parts) -> Option<Rc<Group>> {
        let from = exchange.relayed;
        let (site, may) = match way {
            // What is unsafe changes nothing here: others are told by the log.
            Way::Beside => (
                &self.beside,
                from.is_none() && !exchange.for_itself && head.method.is_safe(),
            ),
            Way::Shield => (&self.shield, from.is_none_or(|from| from.beside)),
        };
        let passes = exchange.is_grpc() || head.headers.contains_key(UPGRADE);
        let group = site.as_ref().filter(|_| may && !passes)?.of(wish.key)?;
        Some(Rc::clone(group))
    }

    /// The request as another edge gets it.
    fn relayed(
        &self,
        way: Way,
        exchange: &Exchange,
        (wish, followed): (Wish<'_>, &Followed),
        head: &Parts,
    ) -> Option<Parts> {
        let settings = exchange.core.settings();
        let seen = || client_address(&head.headers, exchange.peer.address, &settings.trusted_proxies);
        let client = exchange.relayed.map_or_else(seen, |from| from.client);
        let text = |text: &str| HeaderValue::from_str(text).ok();
        let mut relayed = head.clone();
        let headers = &mut relayed.headers;
        for name in [ROUTE, UNTRUE, BESIDE, PURGES] {
            headers.remove(name);
        }
        if wish.untrue {
            headers.insert(UNTRUE, HeaderValue::from_static("1"));
        }
        if way == Way::Beside {
            headers.insert(BESIDE, HeaderValue::from_static("1"));
        }
        if let Some(word) = followed.word() {
            headers.insert(PURGES, word);
        }
        if let Some(routed) = &exchange.routed {
            headers.insert(ROUTE, text(routed.name())?);
        }
        headers.insert(PROCESS, text(exchange.group.process()?.as_str())?);
        headers.insert(URI, text(wish.uri.path_and_query()?.as_str())?);
        headers.insert(CLIENT, text(&client.to_string())?);
        headers.insert(PROOF, self.secret.clone());
        headers.append(LOOP, self.own.clone());
        Some(relayed)
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

/// Asks the edges whose it is, if there are such; the instances where they do not answer.
pub(super) async fn send(
    exchange: &mut Exchange,
    cache: &Cache,
    wish: Wish<'_>,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    let Some(hop) = &cache.hop else {
        return forward::send(exchange, head, source).await;
    };
    let store = &cache.store;
    let wish = Wish {
        untrue: wish.untrue || store.elsewhere.concerns(wish.key),
        ..wish
    };
    for way in [Way::Beside, Way::Shield] {
        let Some(edge) = hop.whom(way, exchange, wish, head) else {
            continue;
        };
        let Some(relayed) = hop.relayed(way, exchange, (wish, &store.followed), head) else {
            continue;
        };
        let own = std::mem::replace(&mut exchange.group, edge);
        // Never where the route would have it sent: other servers do not learn the secret.
        let answer = Box::pin(forward::to_instances(exchange, &relayed, source)).await;
        exchange.group = own;
        if !goes_on(exchange, &answer, head, source)? {
            return answer;
        }
        // What an edge that broke off has done with a safe request, is nothing.
        exchange.may_have_acted &= !head.method.is_safe();
    }
    forward::send(exchange, head, source).await
}

/// Whether somebody else is asked, because this edge could not be.
fn goes_on(
    exchange: &Exchange,
    answer: &Result<Answer, Refusal>,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<bool, Refusal> {
    let whole = source.is_none_or(|source| source.taken() == 0);
    match answer {
        Ok(answer) if answer.headers().get(PROOF).is_none() => Ok(false),
        Ok(_unknown) if whole => Ok(true),
        Ok(_unknown) => Err(Refusal::BadGateway(Effect::None)),
        Err(Refusal::NoEndpoint | Refusal::Busy | Refusal::BadGateway(_)) => {
            Ok(whole && (head.method.is_safe() || !exchange.may_have_acted))
        }
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop() -> Hop {
        Hop {
            own: HeaderValue::from_static("photos-south.banyan"),
            secret: HeaderValue::from_static("s3cret"),
            beside: None,
            shield: None,
        }
    }

    fn take(headers: &mut HeaderMap) -> Result<Option<Relayed>, Refusal> {
        hop().take(headers, &Followed::default())
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
        let relayed = take(&mut headers).unwrap().unwrap();
        assert_eq!((relayed.uri.path(), relayed.route), ("/a", None));
        assert!(headers.is_empty());
        for wrong in ["s3cre", "s3crets", "S3cret", ""] {
            let mut headers = fields(&[("banyan-edge-uri", "/a")]);
            headers.insert(PROOF, HeaderValue::from_str(wrong).unwrap());
            assert!(take(&mut headers).unwrap().is_none());
            assert!(headers.is_empty(), "{headers:?}");
        }
    }

    #[test]
    fn a_request_that_was_here_before_is_a_circle() {
        let was_here = |value: &'static str| take(&mut fields(&[("cdn-loop", value)])).is_err();
        assert!(was_here("other, photos-south.banyan"));
        assert!(was_here("photos-south.banyan;v=1"));
        assert!(!was_here("photos-west.banyan, other"));
    }
}
