//! The login of a client: SCRAM-SHA-256 by the stored verifier, MD5 where the server still stores that.
//!
//! An unknown user, an expired one and a wrong password see the same messages, as with PostgreSQL. What the client
//! proves becomes the pool's credentials; no password is stored.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use banyan_runtime::Clock;

use crate::backend::connect::{Credentials, md5_answer, nonce};
use crate::backend::stream::Stream;
use crate::control::{NoAnswer, Request, Stored};
use crate::respond::Refusal;
use crate::wire::scram::{MECHANISM, Server, Verifier};
use crate::wire::{frame, message};
use crate::worker::Worker;

/// Longest answer to an authentication request (`PG_MAX_AUTH_TOKEN_LENGTH`).
const ANSWER_LIMIT: usize = 65_535;
/// Between two questions to servers that are not there.
const AGAIN: Duration = Duration::from_millis(25);

pub(super) async fn login(
    stream: &mut Stream,
    out: &mut Vec<u8>,
    user: &str,
    worker: &Rc<Worker>,
) -> Result<Credentials, Refusal> {
    let stored = look_up(user, worker).await?;
    let wrong = || Refusal::Password {
        user: user.to_owned(),
    };
    match stored {
        Stored::Md5(stored) => {
            let salt: [u8; 4] = rand::random();
            message::authentication(out, 5, &salt);
            let answer = ask(stream, out).await?;
            let answer = answer.strip_suffix(&[0]).unwrap_or(&answer);
            if answer != md5_answer(&stored, salt).as_bytes() {
                return Err(wrong());
            }
            message::authentication(out, 0, &[]);
            Ok(Credentials::Md5(stored))
        }
        Stored::Scram(verifier) => scram(stream, out, verifier, true, None).await?.ok_or_else(wrong),
        Stored::Mock(verifier) => scram(stream, out, verifier, false, None).await?.ok_or_else(wrong),
        Stored::Password(verifier, password) => {
            let login = Some(Credentials::Password(password));
            scram(stream, out, verifier, true, login).await?.ok_or_else(wrong)
        }
    }
}

/// What is stored of `user`; while no server can be asked, the login waits as statements do.
async fn look_up(user: &str, worker: &Rc<Worker>) -> Result<Stored, Refusal> {
    let limit = Clock.now() + worker.snapshot.borrow().database.hold_limit;
    let failed = |cause: String| Refusal::NoVerifier {
        user: user.to_owned(),
        cause,
    };
    loop {
        if worker.holding() {
            let place = worker.gate.park().ok_or(Refusal::ParkFull)?;
            // In time or not: it is asked, and says why not.
            let _late = tokio::time::timeout_at(limit.into(), place).await;
        }
        let (reply, stored) = oneshot::channel();
        let lookup = Request::Verifier {
            user: user.to_owned(),
            reply,
        };
        let ending = || failed("the proxy ends".to_owned());
        worker.control.send(lookup).map_err(|_| ending())?;
        match stored.await.map_err(|_| ending())? {
            Ok(stored) => return Ok(stored),
            Err(NoAnswer { why, passing }) if !passing || Clock.now() >= limit => return Err(failed(why)),
            Err(_) => {
                let primary = worker.snapshot.borrow().database.primary;
                if let Some(primary) = primary {
                    worker.suspect(primary);
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// `None`: not proved. `login`: how servers are logged in to, when not by what the client proves.
async fn scram(
    stream: &mut Stream,
    out: &mut Vec<u8>,
    verifier: Verifier,
    real: bool,
    login: Option<Credentials>,
) -> Result<Option<Credentials>, Refusal> {
    let malformed = |_| Refusal::Protocol("malformed SCRAM message");
    message::authentication(out, 10, format!("{MECHANISM}\0\0").as_bytes());
    let first = ask(stream, out).await?;
    let (mechanism, rest) = frame::text(&first).ok_or(Refusal::Protocol("malformed SCRAM message"))?;
    if mechanism != MECHANISM.as_bytes() {
        return Err(Refusal::Protocol(
            "client selected an invalid SASL authentication mechanism",
        ));
    }
    let (length, data) = rest
        .split_first_chunk::<4>()
        .ok_or(Refusal::Protocol("malformed SCRAM message"))?;
    if u32::from_be_bytes(*length) as usize != data.len() {
        return Err(Refusal::Protocol("malformed SCRAM message"));
    }
    let server = Server::begin(data, verifier, real, &nonce()).map_err(malformed)?;
    message::authentication(out, 11, server.message().as_bytes());
    let last = ask(stream, out).await?;
    match server.finish(&last) {
        Ok(proved) => {
            message::authentication(out, 12, proved.server_final.as_bytes());
            message::authentication(out, 0, &[]);
            Ok(Some(login.unwrap_or(Credentials::Scram {
                client_key: proved.client_key,
                server_key: proved.verifier.server_key,
            })))
        }
        Err(crate::wire::scram::ScramError::Proof) => Ok(None),
        Err(error) => Err(malformed(error)),
    }
}

/// Sends `out` and reads the client's answer, a single message of type `p`.
async fn ask(stream: &mut Stream, out: &mut Vec<u8>) -> Result<Vec<u8>, Refusal> {
    const GONE: Refusal = Refusal::Protocol("the client went during its login");
    stream.drain(out).await.map_err(|_| GONE)?;
    let mut inbox = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if inbox.first().is_some_and(|tag| *tag != b'p') {
            return Err(Refusal::Protocol("expected a password response"));
        }
        if let Some(length) = inbox.get(1..frame::HEADER) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if !(4..=ANSWER_LIMIT).contains(&length) {
                return Err(Refusal::Protocol("invalid length of a password response"));
            }
            if inbox.len() > length + 1 {
                return Err(Refusal::Protocol("more than a password response"));
            }
            if inbox.len() == length + 1 {
                return Ok(inbox.split_off(frame::HEADER));
            }
        }
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => inbox.extend_from_slice(&buffer[..n]),
            _ => return Err(GONE),
        }
    }
}
