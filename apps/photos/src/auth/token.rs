//! Tokens: signed, good for 30 days, revocable by the user's epoch.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use crate::error::ApiError;
use crate::ids::unix_seconds;
use crate::settings::Secret;

const LIFETIME_SECONDS: u64 = 30 * 24 * 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// The user's id.
    pub(crate) sub: i64,
    /// The user's epoch when the token was made.
    pub(crate) epoch: i32,
    /// Names this token, so that it alone can survive a password change.
    pub(crate) jti: i64,
    pub(crate) exp: u64,
}

pub(crate) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Tokens {
    pub(crate) fn new(secret: &Secret) -> Self {
        Self {
            encoding: EncodingKey::from_secret(secret.0.as_bytes()),
            decoding: DecodingKey::from_secret(secret.0.as_bytes()),
            validation: Validation::new(Algorithm::HS256),
        }
    }

    pub(crate) fn issue(&self, user_id: i64, epoch: i32) -> Result<String, ApiError> {
        let claims = Claims {
            sub: user_id,
            epoch,
            jti: rand::random(),
            exp: unix_seconds() + LIFETIME_SECONDS,
        };
        self.sign(&claims)
    }

    fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|error| ApiError::Broken {
            doing: "sign a token",
            cause: error.to_string(),
        })
    }

    /// `None`: forged, damaged or expired.
    pub(crate) fn read(&self, token: &str) -> Option<Claims> {
        decode::<Claims>(token, &self.decoding, &self.validation)
            .ok()
            .map(|data| data.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(key: &str) -> Tokens {
        Tokens::new(&Secret(key.to_owned()))
    }

    #[test]
    fn a_token_is_read_with_its_own_key_only() {
        let ours = tokens("one key of at least 32 characters");
        let token = ours.issue(7, 2).unwrap();
        let claims = ours.read(&token).unwrap();
        assert_eq!((claims.sub, claims.epoch), (7, 2));
        assert_eq!(tokens("another key of 32 characters!!!").read(&token), None);
        assert_eq!(ours.read(&format!("{token}x")), None);
        assert_eq!(ours.read(""), None);
    }

    #[test]
    fn an_expired_token_is_refused() {
        let ours = tokens("k");
        let expired = Claims {
            sub: 1,
            epoch: 0,
            jti: 1,
            exp: unix_seconds() - 3600,
        };
        assert_eq!(ours.read(&ours.sign(&expired).unwrap()), None);
    }
}
