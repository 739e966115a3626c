//! Argon2id with OWASP's second recommendation: 19 MiB, two passes, one lane.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB, so it runs off the async threads and no more of them at once
//! than there are cores; who would wait too long for a turn is told to come back. The memory is kept and used again: freed,
//! it would stay with the allocator's arena of whichever thread had it, 19 MiB for each.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{
    Error, Output, ParamsString, PasswordHash, PasswordVerifier as _, Salt, SaltString,
};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const TURN_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Answer 503.
    #[error("no core was free to check a password within {TURN_LIMIT:?}")]
    Busy,
    #[error("a password cannot be hashed: {0}")]
    Hash(Error),
    #[error("a password's work was lost: {0}")]
    Lost(tokio::task::JoinError),
}

/// What a log-in's password was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// Right, and stored with weaker parameters than today's: hash it anew and store that.
    RightAndOld,
    Wrong,
}

impl Verdict {
    pub fn is_right(self) -> bool {
        self != Self::Wrong
    }
}

/// A cheap clone; one per process.
#[derive(Clone)]
pub struct Passwords {
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

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("turns", &self.turns).finish()
    }
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
            memory: Arc::default(),
        }
    }
}

impl Passwords {
    /// For the database: Argon2id in the PHC string format, with a salt of its own.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        let turn = self.turn().await?;
        let spare = Arc::clone(&self.memory);
        off_thread(move || {
            let _turn = turn;
            let salt = SaltString::generate(&mut OsRng);
            let hashed = spare.with(|memory| hash(&password, &salt, memory));
            hashed.map_err(PasswordError::Hash)
        })
        .await?
    }

    /// For demo data whose rows must be the same each time: never for a password that is secret. Blocks for tens of milliseconds; the salt
    /// has at least 8 bytes.
    pub fn hash_with_salt(password: &str, salt: &[u8]) -> Result<String, PasswordError> {
        let salt = SaltString::encode_b64(salt).map_err(PasswordError::Hash)?;
        SpareMemory::default()
            .with(|memory| hash(password, &salt, memory))
            .map_err(PasswordError::Hash)
    }

    /// Without a stored hash the answer is no, after the same work: the time does not tell which users exist.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, PasswordError> {
        let turn = self.turn().await?;
        let spare = Arc::clone(&self.memory);
        off_thread(move || {
            let _turn = turn;
            spare.with(|memory| match stored.as_deref().map(PasswordHash::new) {
                Some(Ok(stored)) => judge(&password, &stored, memory),
                Some(Err(_)) | None => {
                    let salt = SaltString::generate(&mut OsRng);
                    // The result does not matter, the work does.
                    hash(&password, &salt, memory).ok();
                    Verdict::Wrong
                }
            })
        })
        .await
    }

    /// Goes with the work: a request that is given up does not end its hashing.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        match tokio::time::timeout(TURN_LIMIT, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(PasswordError::Busy),
        }
    }
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
fn judge(password: &str, stored: &PasswordHash<'_>, memory: &mut [Block]) -> Verdict {
    let ours = ParamsString::try_from(&params()).is_ok_and(|params| params == stored.params)
        && stored.algorithm == Algorithm::Argon2id.ident();
    let (is_right, right) = match (stored.salt, stored.hash) {
        // Outputs are compared in constant time.
        (Some(salt), Some(hash)) if ours => {
            let is_right = digest(password, salt, memory).is_ok_and(|computed| computed == hash);
            (is_right, Verdict::Right)
        }
        _ => {
            let is_right = argon2().verify_password(password.as_bytes(), stored).is_ok();
            (is_right, Verdict::RightAndOld)
        }
    };
    if is_right { right } else { Verdict::Wrong }
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

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(PasswordError::Lost)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    #[tokio::test]
    async fn the_right_password_alone_is_accepted() {
        let passwords = Passwords::default();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        let verify = async |password: &str, stored: Option<&str>| {
            let verdict = passwords.verify(password.to_owned(), stored.map(ToOwned::to_owned));
            verdict.await.unwrap()
        };
        assert_eq!(verify("correct horse", Some(&stored)).await, Verdict::Right);
        assert_eq!(verify("wrong horse", Some(&stored)).await, Verdict::Wrong);
        assert_eq!(verify("correct horse", None).await, Verdict::Wrong);
        assert_eq!(verify("correct horse", Some("no hash")).await, Verdict::Wrong);
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(64, 1, 1, None).unwrap(),
        );
        let salt = SaltString::encode_b64(b"saltsalt").unwrap();
        let weak = weak.hash_password(b"correct horse", &salt).unwrap().to_string();
        assert_eq!(verify("correct horse", Some(&weak)).await, Verdict::RightAndOld);
        assert_eq!(verify("wrong horse", Some(&weak)).await, Verdict::Wrong);
    }

    #[test]
    fn a_chosen_salt_gives_the_same_hash() {
        let hash = || Passwords::hash_with_salt("p", b"saltsalt").unwrap();
        assert_eq!(hash(), hash());
        assert!(matches!(
            Passwords::hash_with_salt("p", b"short"),
            Err(PasswordError::Hash(_))
        ));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hundred_log_ins_at_once_take_the_memory_of_as_many_as_there_are_cores() {
        let passwords = Passwords::default();
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        let all = (0..100).map(|_| {
            let (passwords, stored) = (passwords.clone(), stored.clone());
            let log_in = async move { passwords.verify("correct horse".to_owned(), Some(stored)).await };
            tokio::runtime::Handle::current().spawn(log_in)
        });
        for log_in in all.collect::<Vec<_>>() {
            // On a busy machine some are told to come back.
            match log_in.await.unwrap() {
                Ok(verdict) => assert_eq!(verdict, Verdict::Right),
                Err(error) => assert!(matches!(error, PasswordError::Busy), "{error}"),
            }
        }
        let cores = std::thread::available_parallelism().unwrap().get();
        let pieces = passwords.memory.0.lock().unwrap().len();
        assert!(
            (1..=cores).contains(&pieces),
            "{pieces} times 19 MiB for {cores} cores"
        );
    }
}
