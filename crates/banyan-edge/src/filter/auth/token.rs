//! The signature of a token (RFC 7515), by a set of keys (RFC 7517).
//!
//! What a key may verify is decided by the key, not by the token: its kind and curve (and its `alg` and `use`, if it has them)
//! name the algorithms, and the route's list cuts them down. So a public RSA key never serves as an HMAC secret, and
//! `none` is no algorithm. Keys that a token brings along (`jwk`, `jku`, `x5u`) are not looked at.

use std::fmt;
use std::rc::Rc;

use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, crypto, decode_header};
use serde_json::Value;

use super::Identity;
use super::claims;

/// Longer ones are not looked at.
const LONGEST: usize = 16 * 1024;
/// Base64 digits of a modulus of 2048 bits.
const SHORTEST_RSA: usize = 342;
/// Without a name for its key, a token is tried with so many.
const TRIES: usize = 4;

pub(crate) struct KeySet(Vec<Key>);

/// How many, never which.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({})", self.0.len())
    }
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A token whose signature is sound.
pub(crate) struct Verified {
    pub judged: Result<Rc<Identity>, claims::Fault>,
    pub times: claims::Times,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Invalid,
    /// It may be sound: its key is not among ours.
    UnknownKey,
}

/// Why a set cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    #[error("it is no JSON Web Key Set")]
    Json(#[from] serde_json::Error),
    #[error("it holds no key that can be used (RSA of 2048 bits or more, P-256, P-384, Ed25519{0})")]
    Nothing(&'static str),
}

#[derive(serde::Deserialize)]
struct Set {
    /// One that we cannot read must not spoil the others.
    keys: Vec<Value>,
}

impl KeySet {
    /// `secrets`: whether symmetric keys are taken; never from where they were fetched.
    pub(crate) fn read(text: &str, secrets: bool) -> Result<Self, KeySetError> {
        let set: Set = serde_json::from_str(text)?;
        let keys = set
            .keys
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok())
            .filter_map(|key: Jwk| Key::new(&key, secrets));
        let keys: Vec<Key> = keys.collect();
        if keys.is_empty() {
            return Err(KeySetError::Nothing(if secrets { ", secrets" } else { "" }));
        }
        Ok(Self(keys))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The claims, if the signature is sound. Their times and meaning are not judged here.
    pub(crate) fn verify(&self, token: &str, allowed: &[Algorithm]) -> Result<Value, Fault> {
        if token.len() > LONGEST || token.split('.').count() != 3 {
            return Err(Fault::Invalid);
        }
        let head = decode_header(token).map_err(|_| Fault::Invalid)?;
        // Extensions that must be understood (RFC 7515 §4.1.11): we understand none.
        if !allowed.contains(&head.alg) || head.crit.is_some() {
            return Err(Fault::Invalid);
        }
        let fits =
            |key: &&Key| key.algorithms.contains(&head.alg) && (head.kid.is_none() || head.kid == key.id);
        let (message, signature) = token.rsplit_once('.').ok_or(Fault::Invalid)?;
        let mut found = false;
        for key in self.0.iter().filter(fits).take(TRIES) {
            found = true;
            if crypto::verify(signature, message.as_bytes(), &key.key, head.alg).unwrap_or(false) {
                let token = insecure_decode::<Value>(token).map_err(|_| Fault::Invalid)?;
                return Ok(token.claims);
            }
        }
        Err(if found { Fault::Invalid } else { Fault::UnknownKey })
    }
}

impl Key {
    fn new(jwk: &Jwk, secrets: bool) -> Option<Self> {
        let common = &jwk.common;
        let signs = common
            .public_key_use
            .as_ref()
            .is_none_or(|u| *u == PublicKeyUse::Signature);
        let verifies = common
            .key_operations
            .as_ref()
            .is_none_or(|all| all.contains(&KeyOperations::Verify));
        let mut algorithms = algorithms(&jwk.algorithm, secrets);
        if let Some(only) = &common.key_algorithm {
            // Its other names (RSA-OAEP, …) are of no signature.
            let only: Algorithm = serde_json::from_value(serde_json::to_value(only).ok()?).ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        if !signs || !verifies || algorithms.is_empty() {
            return None;
        }
        Some(Self {
            id: common.key_id.clone(),
            algorithms,
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

/// Those that a key of this kind may verify.
fn algorithms(kind: &AlgorithmParameters, secrets: bool) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256, RS384, RS512};
    match kind {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= SHORTEST_RSA => {
            vec![RS256, RS384, RS512, PS256, PS384, PS512]
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => vec![ES256],
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => vec![ES384],
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => vec![EdDSA],
        AlgorithmParameters::OctetKey(_) if secrets => vec![HS256, HS384, HS512],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    /// RFC 8037, appendix A: key pair, and the token of A.4.
    const ED_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const ED_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn set(keys: Value) -> Result<KeySet, KeySetError> {
        KeySet::read(&json!({ "keys": keys }).to_string(), true)
    }

    fn secret(kid: &str, text: &str) -> Value {
        json!({ "kty": "oct", "kid": kid, "k": text })
    }

    fn signed(kid: Option<&str>, algorithm: Algorithm, key: &[u8]) -> String {
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, &json!({ "sub": "ann" }), &EncodingKey::from_secret(key)).unwrap()
    }

    #[test]
    fn the_signature_of_the_rfcs_example_is_sound_and_its_text_is_no_claims() {
        let keys = set(json!([{ "kty": "OKP", "crv": "Ed25519", "x": ED_X }])).unwrap();
        let token = ED_TOKEN.replace(char::is_whitespace, "");
        assert_eq!(
            keys.verify(&token, &[Algorithm::EdDSA]),
            Err(Fault::Invalid),
            "no JSON"
        );
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert!(crypto::verify(signature, message.as_bytes(), &keys.0[0].key, Algorithm::EdDSA).unwrap());
    }

    #[test]
    fn a_key_is_chosen_by_its_name_and_a_name_that_is_not_there_may_come() {
        // "AAAA" and "BBBB" are three bytes each.
        let keys = set(json!([secret("a", "AAAA"), secret("b", "BBBB")])).unwrap();
        let (a, b) = ([0, 0, 0], [4, 16, 65]);
        let all = [Algorithm::HS256];
        assert!(
            keys.verify(&signed(Some("a"), Algorithm::HS256, &a), &all)
                .is_ok()
        );
        assert!(
            keys.verify(&signed(Some("b"), Algorithm::HS256, &b), &all)
                .is_ok()
        );
        assert!(keys.verify(&signed(None, Algorithm::HS256, &b), &all).is_ok());
        let verify = |kid, key: &[u8]| keys.verify(&signed(kid, Algorithm::HS256, key), &all);
        assert_eq!(verify(Some("a"), &b), Err(Fault::Invalid));
        assert_eq!(verify(Some("c"), &a), Err(Fault::UnknownKey));
        assert_eq!(
            keys.verify(&signed(Some("a"), Algorithm::HS512, &a), &all),
            Err(Fault::Invalid),
            "not on the list"
        );
    }

    /// The classic confusion: an attacker signs by HMAC with the public key as the secret.
    #[test]
    fn a_public_key_is_no_secret_and_none_is_no_algorithm() {
        let all = [Algorithm::HS256, Algorithm::EdDSA, Algorithm::RS256];
        let keys = set(json!([{ "kty": "OKP", "crv": "Ed25519", "x": ED_X, "kid": "k" }])).unwrap();
        for key in [ED_X.as_bytes(), b""] {
            let forged = signed(Some("k"), Algorithm::HS256, key);
            assert_eq!(keys.verify(&forged, &all), Err(Fault::UnknownKey));
        }
        // {"alg":"none"}.{"sub":"ann"}.
        for none in [
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.AA",
        ] {
            assert_eq!(keys.verify(none, &all), Err(Fault::Invalid));
        }
        for broken in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30"] {
            assert_eq!(keys.verify(broken, &all), Err(Fault::Invalid), "{broken}");
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_passed_over_and_a_set_of_them_is_refused() {
        let small = json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" });
        let sealing = json!({ "kty": "oct", "k": "AAAA", "use": "enc" });
        let strange = json!({ "kty": "new", "x": 1 });
        let curve = json!({ "kty": "OKP", "crv": "X25519", "x": ED_X });
        assert!(set(json!([small, sealing, strange, curve])).is_err());
        assert_eq!(
            set(json!([small, strange, secret("a", "AAAA")])).unwrap().len(),
            1
        );
        let text = json!({ "keys": [secret("a", "AAAA")] }).to_string();
        assert!(KeySet::read(&text, false).is_err(), "a fetched secret is none");
        assert!(KeySet::read("[]", true).is_err());
        let bound = json!({ "kty": "oct", "k": "AAAA", "alg": "HS512" });
        let keys = set(json!([bound])).unwrap();
        let token = signed(None, Algorithm::HS256, &[0, 0, 0]);
        assert_eq!(keys.verify(&token, &[Algorithm::HS256]), Err(Fault::UnknownKey));
    }
}
