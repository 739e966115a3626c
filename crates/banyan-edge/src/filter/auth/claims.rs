//! What a token whose signature is sound says (RFC 7519 §4.1), and whether that is enough. Pure.

use std::collections::BTreeMap;
use std::rc::Rc;

use http::header::{HeaderName, HeaderValue};
use jsonwebtoken::Algorithm;
use serde_json::Value;

use banyan_config::Jwt;

use super::Identity;

pub(super) struct Rules {
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Vec<String>,
    leeway: u64,
    require: BTreeMap<String, String>,
    claims: Vec<(HeaderName, String)>,
    user: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not meant for here, or not a token of ours.
    Invalid,
    /// Sound, without a claim that is asked for.
    Missing,
}

/// Unix seconds between which a token holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    from: u64,
    until: u64,
}

impl Times {
    /// A token without `exp` never holds.
    pub(super) fn of(claims: &Value) -> Self {
        let seconds = |name: &str| {
            let number = claims.get(name)?.as_f64()?;
            (number >= 0.0).then_some(number as u64)
        };
        let never = Self {
            from: u64::MAX,
            until: 0,
        };
        match (seconds("exp"), claims.get("nbf").is_some(), seconds("nbf")) {
            (None, ..) | (_, true, None) => never,
            (Some(until), _, from) => Self {
                from: from.unwrap_or(0),
                until,
            },
        }
    }
}

impl Rules {
    pub(super) fn new(jwt: &Jwt) -> Self {
        Self {
            algorithms: jwt.algorithms.iter().filter_map(|name| algorithm(name)).collect(),
            issuer: jwt.issuer.clone(),
            audience: jwt.audience.clone(),
            leeway: jwt.leeway.as_secs(),
            require: jwt.require.clone(),
            claims: jwt
                .claims
                .iter()
                .filter_map(|(name, claim)| Some((name.parse().ok()?, claim.clone())))
                .collect(),
            user: jwt.user.clone(),
        }
    }

    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    pub(super) fn in_time(&self, times: Times, now: u64) -> bool {
        now < times.until.saturating_add(self.leeway) && now.saturating_add(self.leeway) >= times.from
    }

    /// Everything but the time.
    pub(super) fn read(&self, claims: &Value, user_header: &HeaderName) -> Result<Rc<Identity>, Fault> {
        let issued = self
            .issuer
            .as_ref()
            .is_none_or(|issuer| claims.get("iss").and_then(Value::as_str) == Some(issuer));
        let meant = self.audience.is_empty()
            || self
                .audience
                .iter()
                .any(|audience| claims.get("aud").is_some_and(|aud| holds(aud, audience, false)));
        if !issued || !meant || !claims.is_object() {
            return Err(Fault::Invalid);
        }
        let lacks = |(path, wanted): (&String, &String)| {
            !at(claims, path).is_some_and(|claim| holds(claim, wanted, path == "scope" || path == "scp"))
        };
        if self.require.iter().any(lacks) {
            return Err(Fault::Missing);
        }
        let user = at(claims, &self.user).and_then(text);
        let mut headers = Vec::new();
        let named = user.as_ref().map(|user| (user_header, user.clone()));
        let claimed = self
            .claims
            .iter()
            .filter_map(|(name, path)| Some((name, at(claims, path).and_then(text)?)));
        for (name, value) in named.into_iter().chain(claimed) {
            // A line break in a name is an attack on who reads the header.
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Fault::Invalid)?;
            headers.push((name.clone(), value));
        }
        Ok(Rc::new(Identity {
            user,
            key: None,
            headers,
        }))
    }
}

fn algorithm(name: &str) -> Option<Algorithm> {
    serde_json::from_value(Value::from(name)).ok()
}

/// The claim of this name, or by a path of names.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    claims
        .get(path)
        .or_else(|| path.split('.').try_fold(claims, |claim, name| claim.get(name)))
}

fn holds(claim: &Value, wanted: &str, words: bool) -> bool {
    match claim {
        Value::String(text) if words => text.split(' ').any(|word| word == wanted),
        Value::Array(items) => items
            .iter()
            .any(|item| text(item).is_some_and(|item| item == wanted)),
        other => text(other).is_some_and(|text| text == wanted),
    }
}

fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(text).collect();
            Some(items?.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use banyan_config::JwtKeys;
    use serde_json::json;

    use super::*;

    fn rules() -> Rules {
        Rules::new(&Jwt {
            keys: JwtKeys::File("x".into()),
            algorithms: vec!["RS256".to_owned(), "EdDSA".to_owned()],
            issuer: Some("https://id.example".to_owned()),
            audience: vec!["shop".to_owned(), "admin".to_owned()],
            leeway: Duration::from_secs(30),
            require: [("roles.shop", "clerk"), ("scope", "write")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .into(),
            claims: [
                ("x-mail".to_owned(), "email".to_owned()),
                ("x-groups".to_owned(), "groups".to_owned()),
            ]
            .into(),
            user: "sub".to_owned(),
        })
    }

    fn good() -> Value {
        json!({
            "iss": "https://id.example", "aud": ["other", "shop"], "sub": "ann", "exp": 1000, "nbf": 500,
            "roles": { "shop": ["clerk", "cook"] }, "scope": "read write", "email": "ann@example.org", "groups": ["a", "b"],
        })
    }

    fn changed(name: &str, value: Value) -> Value {
        let mut claims = good();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value;
        }
        claims
    }

    fn read(claims: &Value) -> Result<Rc<Identity>, Fault> {
        rules().read(claims, &HeaderName::from_static("x-auth-user"))
    }

    #[test]
    fn a_sound_token_names_its_user_and_fills_the_headers() {
        let identity = read(&good()).unwrap();
        assert_eq!(identity.user.as_deref(), Some("ann"));
        let headers: Vec<_> = identity
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            headers,
            ["x-auth-user: ann", "x-groups: a,b", "x-mail: ann@example.org"]
        );
        assert_eq!(rules().algorithms(), [Algorithm::RS256, Algorithm::EdDSA]);
    }

    #[test]
    fn what_is_for_others_is_invalid_and_what_lacks_a_claim_is_missing_it() {
        for (name, value, fault) in [
            ("iss", json!("https://id.example/"), Fault::Invalid),
            ("iss", Value::Null, Fault::Invalid),
            ("aud", json!("shopping"), Fault::Invalid),
            ("aud", Value::Null, Fault::Invalid),
            ("sub", json!("ann\r\nx-mail: eve"), Fault::Invalid),
            ("roles", json!({ "shop": ["cook"] }), Fault::Missing),
            ("roles", json!("clerk"), Fault::Missing),
            ("scope", json!("writer rewrite"), Fault::Missing),
            ("scope", Value::Null, Fault::Missing),
        ] {
            assert_eq!(read(&changed(name, value.clone())), Err(fault), "{name} {value}");
        }
        assert!(read(&changed("aud", json!("admin"))).is_ok());
        assert_eq!(read(&json!("text")), Err(Fault::Invalid));
    }

    #[test]
    fn a_token_holds_within_its_times_and_some_leeway_and_never_without_an_end() {
        let holds = |claims: &Value, now| rules().in_time(Times::of(claims), now);
        for (now, expected) in [(469, false), (470, true), (1029, true), (1030, false)] {
            assert_eq!(holds(&good(), now), expected, "{now}");
        }
        assert!(holds(&changed("nbf", Value::Null), 0));
        assert!(holds(&changed("exp", json!(1000.9)), 1029));
        for claims in [
            changed("exp", Value::Null),
            changed("exp", json!("1000")),
            changed("exp", json!(-5)),
            changed("nbf", json!("500")),
        ] {
            assert!(!holds(&claims, 700), "{claims}");
        }
    }
}
