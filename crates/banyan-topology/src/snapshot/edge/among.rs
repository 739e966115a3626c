//! Which edges an edge asks on a miss: those it shares what it keeps with, and the shield, which may be several that share.
//!
//! Each is a group of its own with one endpoint, because which of them is asked is a matter of the key, not of a balance
//! policy. The names of the groups say which edge it is, and are the same at all edges. Pure.

use std::net::{Ipv4Addr, SocketAddr};

use banyan_config::{Cache, FIRST_PLACE, Protocol, ProxyProtocol};

use super::{EdgeSnapshot, Endpoint, EndpointState, Upstream};
use crate::id::{InstanceId, PlaceName, ProcessName, ReleaseId};

/// The group of the edge that `shield` names goes by this name in counters. No process should have it.
pub const SHIELD: &str = "edge-shield";
/// That of any other edge, followed by its place: one beside the asking edge, or beside its shield.
pub const AT: &str = "edge-at-";

/// Whether this group is an edge.
pub fn is_edge(group: &ProcessName) -> bool {
    group.as_str() == SHIELD || group.as_str().starts_with(AT)
}

/// Where the edge of this group is; `None`: it is no edge.
pub fn place_of<'a>(cache: &'a Cache, group: &'a ProcessName) -> Option<&'a str> {
    let shield = || cache.shield.as_ref().map(PlaceName::as_str);
    match group.as_str() {
        SHIELD => shield(),
        name => name.strip_prefix(AT),
    }
}

/// The edge there is the shield, or one of those that are it together.
pub fn is_shield(cache: &Cache, place: &str) -> bool {
    let shield = cache.shield.as_ref();
    shield.is_some_and(|shield| cache.site(shield.as_str()) == cache.site(place))
}

/// The groups of all edges that the one at `own` asks.
pub(super) fn asked(snapshot: &EdgeSnapshot, own: &str) -> Vec<Upstream> {
    let Some(cache) = &snapshot.settings.cache else {
        return Vec::new();
    };
    let shield = cache.shield.as_ref().map(PlaceName::as_str);
    let is_asked = |place: &&str| {
        let beside = cache.site(place) == cache.site(own);
        *place != own && (beside || is_shield(cache, place))
    };
    let places = snapshot.places.keys().map(PlaceName::as_str);
    let all = std::iter::once(FIRST_PLACE).chain(places).filter(is_asked);
    let group = |place: &str| {
        // Within the site of the shield it is one of several, like the others.
        let name = if Some(place) == shield && !is_shield(cache, own) {
            SHIELD.to_owned()
        } else {
            format!("{AT}{place}")
        };
        Some(group(snapshot, name.parse().ok()?, address(snapshot, place)?))
    };
    all.filter_map(group).collect()
}

fn address(snapshot: &EdgeSnapshot, place: &str) -> Option<SocketAddr> {
    let mut places = snapshot.places.iter();
    let mut address = match places.find(|(name, _)| name.as_str() == place) {
        Some((_, place)) => place.listen,
        None => snapshot.listeners.first()?.address,
    };
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Some(address)
}

fn group(snapshot: &EdgeSnapshot, process: ProcessName, address: SocketAddr) -> Upstream {
    let id = InstanceId {
        process: process.clone(),
        slot: 1,
        release: ReleaseId(0),
    };
    // Where it takes the word of proxies on this machine for who asks, it expects one.
    let settings = &snapshot.settings;
    let mut proxies = settings.trusted_proxies.iter();
    let told = settings.proxy_protocol && proxies.any(|network| network.contains(address.ip()));
    Upstream {
        process,
        ready: None,
        endpoints: vec![Endpoint {
            id,
            address,
            protocol: Protocol::Http1,
            zone: None,
            state: EndpointState::Active,
        }],
        proxy_protocol: told.then_some(ProxyProtocol::V2),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use banyan_config::{CacheProfile, EdgePlace};
    use expect_test::expect;

    use super::*;

    fn snapshot(shield: Option<&str>, beside: &[(&str, &str)]) -> EdgeSnapshot {
        let text = include_str!("../../../../../bench/snapshot.json")
            .replace("@LISTEN@", "8080")
            .replace("@LISTEN_TLS@", "8443")
            .replace("@CERT@", "/cert.pem")
            .replace("@KEY@", "/key.pem")
            .replace("@UPSTREAM@", "9000")
            .replace("@WORKERS@", "2");
        let mut snapshot: EdgeSnapshot = serde_json::from_str(&text).unwrap();
        let place = |port| EdgePlace {
            listen: (Ipv4Addr::UNSPECIFIED, port).into(),
            https: None,
        };
        let places = [("a", 1), ("a2", 2), ("b", 3), ("b2", 4)];
        snapshot.places = places
            .map(|(name, port)| (name.parse().unwrap(), place(port)))
            .into();
        snapshot.settings.cache = Some(Box::new(Cache {
            memory: 1,
            disk: None,
            profile: CacheProfile::Safe,
            policy: Default::default(),
            shield: shield.map(|name| name.parse().unwrap()),
            beside: beside
                .iter()
                .map(|(name, other)| (name.parse().unwrap(), other.parse().unwrap()))
                .collect::<BTreeMap<_, _>>(),
            rules: Vec::new(),
            purge: None,
            warm: None,
        }));
        snapshot
    }

    /// Whom each edge asks.
    fn told(shield: Option<&str>, beside: &[(&str, &str)]) -> String {
        let snapshot = snapshot(shield, beside);
        let line = |own: &str| {
            let groups = asked(&snapshot, own);
            let groups = groups.iter().map(|group| {
                assert!(is_edge(&group.process));
                format!(" {}={}", group.process, group.endpoints[0].address)
            });
            format!("{own}:{}\n", groups.collect::<String>())
        };
        ["edge", "a", "a2", "b", "b2"].map(line).concat()
    }

    #[test]
    fn edges_ask_those_beside_them_and_the_shield_and_a_shield_only_those_beside_it() {
        expect![[r#"
            edge:
            a: edge-at-a2=127.0.0.1:2
            a2: edge-at-a=127.0.0.1:1
            b:
            b2:
        "#]]
        .assert_eq(&told(None, &[("a2", "a")]));
        expect![[r#"
            edge:
            a: edge-shield=127.0.0.1:8080 edge-at-a2=127.0.0.1:2
            a2: edge-shield=127.0.0.1:8080 edge-at-a=127.0.0.1:1
            b: edge-shield=127.0.0.1:8080
            b2: edge-shield=127.0.0.1:8080
        "#]]
        .assert_eq(&told(Some("edge"), &[("a2", "a")]));
        expect![[r#"
            edge: edge-at-b=127.0.0.1:3 edge-shield=127.0.0.1:4
            a: edge-at-a2=127.0.0.1:2 edge-at-b=127.0.0.1:3 edge-shield=127.0.0.1:4
            a2: edge-at-a=127.0.0.1:1 edge-at-b=127.0.0.1:3 edge-shield=127.0.0.1:4
            b: edge-at-b2=127.0.0.1:4
            b2: edge-at-b=127.0.0.1:3
        "#]]
        .assert_eq(&told(Some("b2"), &[("a2", "a"), ("b2", "b")]));
    }
}
