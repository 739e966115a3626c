//! Tokens: by keys of a file and of a URL, with claims, times, rotation, and a server of keys that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use banyan_config::{AuthBy, Jwt, JwtKeys};
use banyan_runtime::Clock;
use banyan_testkit::upstream::Upstream;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::auth::{auth, echo, only, private};
use super::{asking, route};
use crate::world::World;

/// The key pair of RFC 8037, appendix A.
const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED_D: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
/// PKCS #8 of an Ed25519 key is this and the key (RFC 8410 §7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

fn now() -> u64 {
    Clock.unix_ms() / 1000
}

pub(super) fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": "shop", "sub": "ann", "exp": now() + 600,
        "email": "ann@example.org", "roles": ["clerk"],
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn signed(kid: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(kid.to_owned());
    let key = EncodingKey::from_ed_der(&[&PKCS8[..], &ED_D[..]].concat());
    format!(
        "Authorization: Bearer {}\r\n",
        encode(&header, claims, &key).unwrap()
    )
}

fn key_set(kid: &str) -> String {
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": ED_X, "use": "sig" }] }).to_string()
}

pub(super) fn jwt(keys: JwtKeys) -> AuthBy {
    AuthBy::Jwt(Box::new(Jwt {
        keys,
        algorithms: vec!["EdDSA".to_owned(), "HS256".to_owned()],
        issuer: Some("https://id.example".to_owned()),
        audience: vec!["shop".to_owned()],
        leeway: Duration::from_secs(30),
        require: [("roles".to_owned(), "clerk".to_owned())].into(),
        claims: [("x-auth-mail".to_owned(), "email".to_owned())].into(),
        user: "sub".to_owned(),
    }))
}

async fn world(keys: JwtKeys) -> (World, Upstream) {
    let upstream = Upstream::answering(echo).await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.auth = [("staff".to_owned(), auth(jwt(keys)))].into();
        s.routes = vec![route("api", only(&["staff"]))];
    })
    .await;
    (world, upstream)
}

#[tokio::test]
async fn a_token_is_judged_by_its_signature_its_times_and_its_claims() {
    let dir = TempDir::new().unwrap();
    private(&dir.path().join("set.json"), &key_set("a"));
    let (world, _upstream) = world(JwtKeys::File(dir.path().join("set.json"))).await;
    // The second time it is known already.
    for _ in 0..2 {
        let answer = world.ask(&asking("/api", &signed("a", &claims()))).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.text(),
            "x-auth-user=ann x-auth-mail=ann@example.org",
            "and no token"
        );
    }
    let mut forged = signed("a", &claims());
    forged.insert(forged.len() - 10, 'x');
    let hmac = encode(
        &Header::new(Algorithm::HS256),
        &claims(),
        &EncodingKey::from_secret(ED_X.as_bytes()),
    );
    for (more, status) in [
        (forged, 401),
        (format!("Authorization: Bearer {}\r\n", hmac.unwrap()), 401),
        (signed("other", &claims()), 401),
        (signed("a", &with("exp", json!(now() - 60))), 401),
        (signed("a", &with("exp", json!(now() - 10))), 200),
        (signed("a", &with("nbf", json!(now() + 60))), 401),
        (signed("a", &with("aud", json!("other"))), 401),
        (signed("a", &with("iss", json!("https://evil.example"))), 401),
        (signed("a", &with("roles", json!(["cook"]))), 403),
        (signed("a", &claims()).repeat(2), 401),
    ] {
        let answer = world.ask(&asking("/api", &more)).await;
        assert_eq!(answer.status(), status, "{more}");
    }
    let none = world.ask(&asking("/api", "")).await;
    assert_eq!(none.header("www-authenticate"), "Bearer realm=\"staff\"");
    let expired = world
        .ask(&asking("/api", &signed("a", &with("exp", json!(1)))))
        .await;
    assert_eq!(
        expired.header("www-authenticate"),
        "Bearer realm=\"staff\", error=\"invalid_token\""
    );
}

#[tokio::test]
async fn keys_of_a_url_are_fetched_rotated_and_kept_when_the_url_fails() {
    let served = Arc::new(Mutex::new(key_set("a")));
    let answering = Arc::clone(&served);
    let server = Upstream::answering(move |_| answering.lock().unwrap().clone()).await;
    let (mut world, _upstream) = world(JwtKeys::Url {
        url: format!("http://{}/keys", server.address),
        refresh: Duration::from_secs(600),
        ca: None,
    })
    .await;
    assert_eq!(
        world.ask(&asking("/api", &signed("a", &claims()))).await.status(),
        200
    );
    let before = server.connections();
    *served.lock().unwrap() = key_set("b");
    // Unknown: fetched at once, and the request waits for it.
    assert_eq!(
        world.ask(&asking("/api", &signed("b", &claims()))).await.status(),
        200
    );
    assert_eq!(
        world.ask(&asking("/api", &signed("a", &claims()))).await.status(),
        401,
        "rotated away"
    );
    for kid in ["c", "d", "e"] {
        assert_eq!(
            world.ask(&asking("/api", &signed(kid, &claims()))).await.status(),
            401
        );
    }
    assert_eq!(server.connections(), before + 1, "not again so soon");
    drop(server);
    // Changed rules have it fetched anew: what was good stays.
    world
        .publish(|s| s.settings.auth.get_mut("staff").unwrap().user_header = "x-auth-user".to_owned())
        .await;
    assert_eq!(
        world.ask(&asking("/api", &signed("b", &claims()))).await.status(),
        200
    );
}

#[tokio::test]
async fn without_any_keys_nobody_can_be_told_and_the_report_says_why() {
    let nobody = banyan_testkit::Port::free();
    let (mut world, _upstream) = world(JwtKeys::Url {
        url: format!("http://{}/keys", nobody.address()),
        refresh: Duration::from_secs(600),
        ca: None,
    })
    .await;
    let answer = world.ask(&asking("/api", &signed("a", &claims()))).await;
    assert_eq!(answer.status(), 503);
    assert!(!answer.header("retry-after").is_empty());
    let report = world
        .until(|r| r.auth.iter().any(|auth| auth.problem.is_some()))
        .await;
    assert_eq!(
        (report.auth[0].name.as_str(), report.auth[0].entries),
        ("staff", 0)
    );
    assert_eq!(world.ask(&asking("/", "")).await.status(), 200);
}
