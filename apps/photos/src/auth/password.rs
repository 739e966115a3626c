//! Argon2id with OWASP's second recommendation: 19 MiB, two passes, one lane.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB, so it runs off the async threads and no more of them at once
//! than there are cores; who would wait too long for a turn is told to come back. The memory is kept and used again: freed,
//! it would stay with the allocator's arena of whichever thread had it, 19 MiB for each.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{
    Error, Output, ParamsString, PasswordHash, PasswordVerifier as _, Salt, SaltString,
};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const TURN_LIMIT: Duration = Duration::from_secs(10);

pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    memory: Arc<SpareMemory>,
}

/// At most one per turn. The lock is held to push or pop only.
#[derive(Default)]
struct SpareMemory(Mutex<Vec<Vec<Block>>>);

impl SpareMemory {
    fn with<T>(&self, work: impl FnOnce(&mut [Block]) -> T) -> T {
        let spare = self.0.lock().expect("no holder of this lock panics").pop();
        let mut memory = spare.unwrap_or_else(|| vec![Block::new(); params().block_count()]);
        let done = work(&mut memory);
        self.0.lock().expect("no holder of this lock panics").push(memory);
        done
    }
}

impl Passwords {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            memory: Arc::default(),
        }
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, ApiError> {
        let turn = self.turn().await?;
        let spare = Arc::clone(&self.memory);
        off_thread(move || {
            let _turn = turn;
            let salt = SaltString::generate(&mut OsRng);
            let hashed = spare.with(|memory| hash(&password, &salt, memory));
            hashed.map_err(|error| ApiError::Broken {
                doing: "hash a password",
                cause: error.to_string(),
            })
        })
        .await?
    }

    /// Without a stored hash the answer is no, after the same work: the time does not tell which users exist.
    pub(crate) async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, ApiError> {
        let turn = self.turn().await?;
        let spare = Arc::clone(&self.memory);
        off_thread(move || {
            let _turn = turn;
            spare.with(|memory| match stored.as_deref().map(PasswordHash::new) {
                Some(Ok(stored)) => is_right(&password, &stored, memory),
                Some(Err(_)) | None => {
                    let salt = SaltString::generate(&mut OsRng);
                    // The result does not matter, the work does.
                    hash(&password, &salt, memory).is_err()
                }
            })
        })
        .await
    }

    /// Goes with the work: a request that is given up does not end its hashing.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        match tokio::time::timeout(TURN_LIMIT, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(ApiError::Busy("no core free to check a password".to_owned())),
        }
    }
}

/// For seeding: a chosen salt gives the same text every time. At least 8 bytes.
pub(crate) fn hash_with_salt(password: &str, salt: &[u8]) -> Result<String, Error> {
    SpareMemory::default().with(|memory| hash(password, &SaltString::encode_b64(salt)?, memory))
}

fn hash(password: &str, salt: &SaltString, memory: &mut [Block]) -> Result<String, Error> {
    let salt = salt.as_salt();
    let hash = digest(password, salt, memory)?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params())?,
        salt: Some(salt),
        hash: Some(hash),
    };
    Ok(hash.to_string())
}

/// A hash with other parameters than ours, from an older version of the app, is checked with memory of its own.
fn is_right(password: &str, stored: &PasswordHash<'_>, memory: &mut [Block]) -> bool {
    let ours = ParamsString::try_from(&params()).is_ok_and(|params| params == stored.params)
        && stored.algorithm == Algorithm::Argon2id.ident();
    match (stored.salt, stored.hash) {
        // Outputs are compared in constant time.
        (Some(salt), Some(hash)) if ours => {
            digest(password, salt, memory).is_ok_and(|computed| computed == hash)
        }
        _ => argon2().verify_password(password.as_bytes(), stored).is_ok(),
    }
}

fn digest(password: &str, salt: Salt<'_>, memory: &mut [Block]) -> Result<Output, Error> {
    let mut buffer = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut buffer)?;
    let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
    argon2().hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, memory)?;
    Output::new(&hash)
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params())
}

fn params() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within Argon2's limits")
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
    use argon2::password_hash::PasswordHasher as _;

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
        let library = argon2()
            .hash_password(b"correct horse", &SaltString::encode_b64(b"saltsalt").unwrap())
            .unwrap()
            .to_string();
        assert!(verify("correct horse", Some(&library)).await.unwrap());
        let older = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, None).unwrap(),
        );
        let older = older
            .hash_password(b"correct horse", &SaltString::encode_b64(b"saltsalt").unwrap())
            .unwrap()
            .to_string();
        assert!(verify("correct horse", Some(&older)).await.unwrap());
        assert!(!verify("wrong horse", Some(&older)).await.unwrap());
    }

    #[test]
    fn a_chosen_salt_gives_the_same_hash() {
        assert_eq!(
            hash_with_salt("p", b"saltsalt").unwrap(),
            hash_with_salt("p", b"saltsalt").unwrap()
        );
    }
}
