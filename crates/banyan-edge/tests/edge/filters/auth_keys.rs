//! Keys of all common kinds, from a server that speaks https by a CA of its own.

use std::time::Duration;

use banyan_config::{AuthBy, JwtKeys};
use banyan_testkit::upstream::Upstream;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

use super::auth::{auth, echo, only};
use super::auth_tokens::{claims, jwt};
use super::{asking, route};
use crate::tls::{Authority, https, with_tls};
use crate::world::World;

/// Made for this test alone; `set.json` has their public halves.
const RSA: &[u8] = include_bytes!("keys/rsa.der");
const P256: &[u8] = include_bytes!("keys/p256.der");
const SET: &str = include_str!("keys/set.json");

/// Another edge, which serves the set within TLS.
async fn key_server(authority: &Authority) -> (World, Upstream) {
    let server = Upstream::answering(|_| SET.to_owned()).await;
    let files = authority.make(&["localhost"]);
    let world = World::with(&[server.address], |s| with_tls(s, vec![files])).await;
    (world, server)
}

async fn world(url: String, ca: Option<std::path::PathBuf>) -> (World, Upstream) {
    let refresh = Duration::from_secs(600);
    let mut by = jwt(JwtKeys::Url { url, refresh, ca });
    if let AuthBy::Jwt(jwt) = &mut by {
        jwt.algorithms = ["RS256", "ES256"].map(str::to_owned).to_vec();
    }
    let upstream = Upstream::answering(echo).await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.auth = [("staff".to_owned(), auth(by))].into();
        s.routes = vec![route("api", only(&["staff"]))];
    })
    .await;
    (world, upstream)
}

fn signed(algorithm: Algorithm, kid: &str, key: &EncodingKey) -> String {
    let mut header = Header::new(algorithm);
    header.kid = Some(kid.to_owned());
    let token = encode(&header, &claims(), key).unwrap();
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn keys_are_fetched_within_tls_and_rsa_and_p256_verify() {
    let authority = Authority::new();
    let (keys, _server) = key_server(&authority).await;
    let url = format!("https://localhost:{}/keys", https(&keys).port());
    let (world, _upstream) = world(url, Some(authority.path())).await;
    let (rsa, p256) = (EncodingKey::from_rsa_der(RSA), EncodingKey::from_ec_der(P256));
    for (token, status) in [
        (signed(Algorithm::RS256, "rsa", &rsa), 200),
        (signed(Algorithm::ES256, "p256", &p256), 200),
        // Sound, but the route does not list it.
        (signed(Algorithm::RS512, "rsa", &rsa), 401),
        // By another key than it names.
        (signed(Algorithm::ES256, "rsa", &p256), 401),
    ] {
        let answer = world.ask(&asking("/api", &token)).await;
        assert_eq!(answer.status(), status, "{token}");
    }
}

#[tokio::test]
async fn a_key_server_that_nobody_vouches_for_is_not_believed() {
    let authority = Authority::new();
    let (keys, _server) = key_server(&authority).await;
    let url = format!("https://localhost:{}/keys", https(&keys).port());
    let stranger = Authority::new();
    stranger.make(&["localhost"]);
    let (world, _upstream) = world(url, Some(stranger.path())).await;
    let rsa = signed(Algorithm::RS256, "rsa", &EncodingKey::from_rsa_der(RSA));
    let answer = world.ask(&asking("/api", &rsa)).await;
    assert_eq!(answer.status(), 503);
    let mut world = world;
    let report = world
        .until(|r| r.auth.iter().any(|auth| auth.problem.is_some()))
        .await;
    let problem = report.auth[0].problem.clone().unwrap();
    assert!(problem.contains("certificate"), "{problem}");
}
