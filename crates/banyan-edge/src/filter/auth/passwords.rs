//! The thread that computes password hashes: tens of milliseconds each, which no core may spend.
//!
//! One at a time, in the order of asking; past 64 that wait, requests are refused. So guessing costs guessers their
//! time and nobody else more than a wait.

use argon2::{Argon2, PasswordHash, PasswordVerifier};
use tokio::sync::{mpsc, oneshot};

const QUEUE: usize = 64;
/// What a password is compared with when nobody has that name: the same work, and never the same.
const NOBODY: &str = "$2y$10$C6UzMDM.H6dfI/f/IKcEeO7ZQ9h5bZ3eUu0mH6y0gJzqg4p6rWc1K";

pub(crate) struct Job {
    pub password: Vec<u8>,
    pub hash: Option<String>,
    pub answer: oneshot::Sender<bool>,
}

pub(crate) type Sender = mpsc::Sender<Job>;
pub(crate) type Receiver = mpsc::Receiver<Job>;

pub(crate) fn channel() -> (Sender, Receiver) {
    mpsc::channel(QUEUE)
}

/// Until every core is gone.
pub(crate) async fn work(mut jobs: Receiver) {
    while let Some(job) = jobs.recv().await {
        // Who waits no more needs no answer.
        if !job.answer.is_closed() {
            let sound = verify(&job.password, job.hash.as_deref());
            let _gone = job.answer.send(sound);
        }
    }
}

fn verify(password: &[u8], hash: Option<&str>) -> bool {
    let known = hash.is_some();
    let hash = hash.unwrap_or(NOBODY);
    let sound = if hash.starts_with("$2") {
        bcrypt::verify(password, hash).unwrap_or(false)
    } else {
        PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
    };
    sound && known
}

#[cfg(test)]
mod tests {
    use argon2::PasswordHasher;
    use argon2::password_hash::SaltString;

    use super::*;

    #[test]
    fn argon2_and_bcrypt_are_verified_and_nobody_is_never_right() {
        let salt = SaltString::encode_b64(b"eight or more").unwrap();
        let cheap = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(16, 1, 1, None).unwrap(),
        );
        let argon = cheap.hash_password(b"sesame", &salt).unwrap().to_string();
        let bcrypt = bcrypt::hash(b"sesame", 4).unwrap();
        for hash in [&argon, &bcrypt] {
            assert!(verify(b"sesame", Some(hash)), "{hash}");
            assert!(!verify(b"Sesame", Some(hash)) && !verify(b"", Some(hash)));
        }
        assert!(!verify(b"sesame", None) && !verify(b"sesame", Some("$5$rounds")));
        assert!(
            bcrypt::verify(b"x", NOBODY).is_ok(),
            "the stand-in must cost as much as a real one"
        );
    }
}
