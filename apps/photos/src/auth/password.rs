//! Argon2id with OWASP's second recommendation: 19 MiB, two passes, one lane.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB, so it runs off the async threads and no more of them at once
//! than there are cores; who would wait too long for a turn is told to come back.

use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::ApiError;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const TURN_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Passwords {
    turns: Semaphore,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Semaphore::new(cores),
        }
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let _turn = self.turn().await?;
        off_thread(move || {
            let salt = SaltString::generate(&mut OsRng);
            hash(&password, &salt).map_err(|error| ApiError::Broken {
                doing: "hash a password",
                cause: error.to_string(),
            })
        })
        .await?
    }

    /// Without a stored hash the answer is no, after the same work: the time does not tell which users exist.
    pub(crate) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, ApiError> {
        let _turn = self.turn().await?;
        off_thread(move || match stored.as_deref().map(PasswordHash::new) {
            Some(Ok(stored)) => argon2().verify_password(password.as_bytes(), &stored).is_ok(),
            Some(Err(_)) | None => {
                let salt = SaltString::generate(&mut OsRng);
                hash(&password, &salt).is_err()
            }
        })
        .await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        match tokio::time::timeout(TURN_LIMIT, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ApiError::Busy("no core free to check a password".to_owned())),
        }
    }
}

/// For seeding: a chosen salt gives the same text every time. At least 8 bytes.
pub(crate) fn hash_with_salt(password: &str, salt: &[u8]) -> Result<String, argon2::password_hash::Error> {
    hash(password, &SaltString::encode_b64(salt)?)
}

fn hash(password: &str, salt: &SaltString) -> Result<String, argon2::password_hash::Error> {
    Ok(argon2().hash_password(password.as_bytes(), salt)?.to_string())
}

fn argon2() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within Argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::Broken {
            doing: "finish password work",
            cause: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_alone_is_accepted() {
        let passwords = Passwords::new();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let verify = |password: &str, stored: Option<&str>| {
            passwords.verify(password.to_owned(), stored.map(ToOwned::to_owned))
        };
        assert!(verify("correct horse", Some(&stored)).await.unwrap());
        assert!(!verify("wrong horse", Some(&stored)).await.unwrap());
        assert!(!verify("correct horse", None).await.unwrap());
        assert!(!verify("correct horse", Some("no hash")).await.unwrap());
    }

    #[test]
    fn a_chosen_salt_gives_the_same_hash() {
        assert_eq!(
            hash_with_salt("p", b"saltsalt").unwrap(),
            hash_with_salt("p", b"saltsalt").unwrap()
        );
    }
}
