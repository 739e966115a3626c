//! SCRAM-SHA-256 (RFC 5802, RFC 7677) on both sides without a password: the server side judges by a verifier, and what
//! the client proves (its ClientKey) is what a server is shown.
//!
//! Channel binding is not offered. Nonces are handed in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

pub type Key = [u8; 32];
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// More rounds than this would let a hostile server keep a core busy.
const MAX_ITERATIONS: u32 = 1_000_000;

/// What `pg_authid.rolpassword` holds: enough to judge a client, not enough to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub iterations: u32,
    pub salt: Vec<u8>,
    pub stored_key: Key,
    pub server_key: Key,
}

/// Shows nothing: what is in it helps to guess the password.
impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier")
    }
}

impl Verifier {
    /// `SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`; `None`: something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix(MECHANISM)?.strip_prefix('$')?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Self {
            iterations: iterations
                .parse()
                .ok()
                .filter(|n| (1..=MAX_ITERATIONS).contains(n))?,
            salt: STANDARD.decode(salt).ok()?,
            stored_key: key(stored)?,
            server_key: key(server)?,
        })
    }

    /// Of a password, as PostgreSQL makes it.
    pub fn of_password(password: &str) -> Option<Self> {
        Self::parse(&postgres_protocol::password::scram_sha_256(password.as_bytes()))
    }

    /// For a user that does not exist: looks like any other, and stays the same for a name.
    pub fn mock(user: &str, secret: &[u8]) -> Self {
        let of = |what: &str| hmac(secret, &[what.as_bytes(), user.as_bytes()]);
        Self {
            iterations: 4096,
            salt: of("salt")[..16].to_vec(),
            stored_key: of("stored"),
            server_key: of("server"),
        }
    }
}

fn key(text: &str) -> Option<Key> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        hmac.update(part);
    }
    hmac.finalize().into_bytes().into()
}

fn digest(bytes: &[u8]) -> Key {
    Sha256::digest(bytes).into()
}

fn xor(a: &Key, b: &Key) -> Key {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// In constant time.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("malformed SCRAM message")]
    Malformed,
    #[error("SCRAM proof does not match")]
    Proof,
}

/// The server side, after the client's first message.
pub struct Server {
    verifier: Verifier,
    /// A user that does not exist is never let in, whatever it proves.
    real: bool,
    gs2: String,
    first_bare: String,
    server_first: String,
    nonce: String,
}

/// What a client has proved: what other servers with the same verifier let it in for.
#[derive(Clone, PartialEq, Eq)]
pub struct Proved {
    pub client_key: Key,
    pub verifier: Verifier,
    /// The last message to the client.
    pub server_final: String,
}

impl Server {
    /// `nonce`: ours, printable and without commas.
    pub fn begin(
        client_first: &[u8],
        verifier: Verifier,
        real: bool,
        nonce: &str,
    ) -> Result<Self, ScramError> {
        let text = std::str::from_utf8(client_first).map_err(|_| ScramError::Malformed)?;
        // `p=` would be channel binding, which was not offered; an authorisation identity is not used by PostgreSQL.
        let bare = text.strip_prefix("n,,").or_else(|| text.strip_prefix("y,,"));
        let bare = bare.ok_or(ScramError::Malformed)?;
        let (name, theirs) = bare.split_once(",r=").ok_or(ScramError::Malformed)?;
        let theirs = theirs.split(',').next().unwrap_or_default();
        let printable = theirs.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if !name.starts_with("n=") || theirs.is_empty() || !printable {
            return Err(ScramError::Malformed);
        }
        let nonce = format!("{theirs}{nonce}");
        let salt = STANDARD.encode(&verifier.salt);
        Ok(Self {
            server_first: format!("r={nonce},s={salt},i={}", verifier.iterations),
            gs2: text[..3].to_owned(),
            first_bare: bare.to_owned(),
            nonce,
            verifier,
            real,
        })
    }

    /// What to send now.
    pub fn message(&self) -> &str {
        &self.server_first
    }

    /// Judges the client's final message.
    pub fn finish(self, client_final: &[u8]) -> Result<Proved, ScramError> {
        let text = std::str::from_utf8(client_final).map_err(|_| ScramError::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|f| f.strip_prefix("c="));
        let nonce = fields.next().and_then(|f| f.strip_prefix("r="));
        if binding != Some(&STANDARD.encode(&self.gs2)) || nonce != Some(&self.nonce) {
            return Err(ScramError::Malformed);
        }
        let proof = key(proof).ok_or(ScramError::Malformed)?;
        let auth = [&self.first_bare, &self.server_first, without_proof].map(str::as_bytes);
        let auth = auth.join(&b',');
        let client_key = xor(&proof, &hmac(&self.verifier.stored_key, &[&auth]));
        let matches = same(&digest(&client_key), &self.verifier.stored_key);
        if !(matches && self.real) {
            return Err(ScramError::Proof);
        }
        let signature = hmac(&self.verifier.server_key, &[&auth]);
        Ok(Proved {
            client_key,
            server_final: format!("v={}", STANDARD.encode(signature)),
            verifier: self.verifier,
        })
    }
}

/// The client side towards a PostgreSQL server, by the key instead of the password.
pub struct Client {
    client_key: Key,
    server_key: Key,
    first_bare: String,
    nonce: String,
    auth: Vec<u8>,
}

impl Client {
    pub fn new(client_key: Key, server_key: Key, nonce: &str) -> Self {
        Self {
            client_key,
            server_key,
            first_bare: format!("n=,r={nonce}"),
            nonce: nonce.to_owned(),
            auth: Vec::new(),
        }
    }

    /// The first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.first_bare)
    }

    /// The answer to the server's first message.
    pub fn answer(&mut self, server_first: &[u8]) -> Result<String, ScramError> {
        let text = std::str::from_utf8(server_first).map_err(|_| ScramError::Malformed)?;
        let nonce = text.split(',').next().and_then(|f| f.strip_prefix("r="));
        let nonce = nonce
            .filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce))
            .ok_or(ScramError::Malformed)?;
        let without_proof = format!("c=biws,r={nonce}");
        self.auth = [self.first_bare.as_str(), text, &without_proof]
            .map(str::as_bytes)
            .join(&b',');
        let signature = hmac(&digest(&self.client_key), &[&self.auth]);
        let proof = STANDARD.encode(xor(&self.client_key, &signature));
        Ok(format!("{without_proof},p={proof}"))
    }

    /// Is it the server that knows the verifier?
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let text = std::str::from_utf8(server_final).map_err(|_| ScramError::Malformed)?;
        let theirs = text
            .strip_prefix("v=")
            .and_then(key)
            .ok_or(ScramError::Malformed)?;
        if same(&theirs, &hmac(&self.server_key, &[&self.auth])) {
            Ok(())
        } else {
            Err(ScramError::Proof)
        }
    }
}

/// ClientKey and ServerKey of a password under a server's salt.
pub fn keys(password: &str, salt: &[u8], iterations: u32) -> (Key, Key) {
    let normal = postgres_password(password);
    let mut block = hmac(&normal, &[salt, &[0, 0, 0, 1]]);
    let mut salted = block;
    for _ in 1..iterations {
        block = hmac(&normal, &[&block]);
        salted = xor(&salted, &block);
    }
    (hmac(&salted, &[b"Client Key"]), hmac(&salted, &[b"Server Key"]))
}

/// ASCII stays as it is under SASLprep; others are taken as they are, as PostgreSQL does when preparation fails.
fn postgres_password(password: &str) -> Vec<u8> {
    password.as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(password: &str, verifier: &Verifier, real: bool) -> Result<Proved, ScramError> {
        let (client_key, server_key) = keys(password, &verifier.salt, verifier.iterations);
        let mut client = Client::new(client_key, server_key, "clientnonce");
        let server = Server::begin(client.first().as_bytes(), verifier.clone(), real, "servernonce")?;
        let answer = client.answer(server.message().as_bytes())?;
        let proved = server.finish(answer.as_bytes())?;
        client.verify(proved.server_final.as_bytes())?;
        assert!(proved.client_key == client_key);
        Ok(proved)
    }

    #[test]
    fn a_right_password_proves_the_client_key_and_a_wrong_one_nothing() {
        let verifier = Verifier::of_password("secret").unwrap();
        assert!(login("secret", &verifier, true).is_ok());
        assert_eq!(login("Secret", &verifier, true).err(), Some(ScramError::Proof));
    }

    #[test]
    fn an_unknown_user_is_refused_after_the_same_exchange() {
        let mock = Verifier::mock("nobody", b"secret");
        assert_eq!(mock, Verifier::mock("nobody", b"secret"));
        assert_ne!(mock, Verifier::mock("somebody", b"secret"));
        assert_eq!(login("secret", &mock, true).err(), Some(ScramError::Proof));
        let real = Verifier::of_password("secret").unwrap();
        assert_eq!(login("secret", &real, false).err(), Some(ScramError::Proof));
    }

    #[test]
    fn the_example_of_rfc_7677_is_judged_right() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let (client_key, server_key) = keys("pencil", &salt, 4096);
        let server = Server {
            verifier: Verifier {
                iterations: 4096,
                salt,
                stored_key: digest(&client_key),
                server_key,
            },
            real: true,
            gs2: "n,,".into(),
            first_bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".into(),
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
            server_first:
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                    .into(),
        };
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proved = server.finish(last.as_bytes()).ok().unwrap();
        assert_eq!(
            proved.server_final,
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn malformed_messages_are_refused() {
        let verifier = Verifier::of_password("x").unwrap();
        for first in [
            "",
            "p=tls-server-end-point,,n=,r=abc",
            "n,,n=",
            "n,,n=,r=",
            "n,a=me,n=,r=x",
            "n,,x=,r=y",
        ] {
            let begun = Server::begin(first.as_bytes(), verifier.clone(), true, "s");
            assert_eq!(begun.err(), Some(ScramError::Malformed), "{first}");
        }
        for last in [
            "",
            "c=biws,r=other,p=AAAA",
            "c=eSws,r=cs,p=AAAA",
            "c=biws,r=cs",
            "c=biws,r=cs,p=%%",
        ] {
            let server = Server::begin(b"n,,n=,r=c", verifier.clone(), true, "s").unwrap();
            assert_eq!(
                server.finish(last.as_bytes()).err(),
                Some(ScramError::Malformed),
                "{last}"
            );
        }
        for text in [
            "md5abc",
            "SCRAM-SHA-256$x:y$z:w",
            "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
            "SCRAM-SHA-256$0:AAAA$a:b",
        ] {
            assert_eq!(Verifier::parse(text), None, "{text}");
        }
    }
}
