//! Codes: from an authenticator app (TOTP, RFC 6238) and sent by mail or message. Each is good for one use; tries are few.

use std::fmt::{self, Display};
use std::num::NonZeroU32;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

use super::keys::{Key, Keyring};
use crate::limit::Rate;
use crate::{Banyan, Database};

const STEP_SECONDS: i64 = 30;
/// An authenticator's clock may be a step off (RFC 6238, section 5.2).
const STEPS_OFF: i64 = 1;
/// One in a million is guessed by chance: five tries in five minutes.
const TRIES: Rate = Rate::per(
    NonZeroU32::new(5).expect("five is not zero"),
    Duration::from_secs(300),
);
const MAILED_TRIES: i32 = 5;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

#[derive(Debug, thiserror::Error)]
pub enum OneTimeError {
    /// Answer 429.
    #[error("too many tries; the next one is possible in {0:?}")]
    TooMany(Duration),
    /// Answer 503.
    #[error("the code cannot be made or judged: {0}")]
    Database(#[from] sqlx::Error),
}

/// What an authenticator app and the app share: 160 bits. Keep it with the user; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; 20]);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(***)")
    }
}

impl TotpSecret {
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// For the QR code that authenticator apps scan (`otpauth://`). Letters and digits of `app` and `account` stay; the rest is
    /// percent-encoded.
    pub fn url(&self, app: &str, account: &str) -> String {
        let (app, account) = (percent(app), percent(account));
        let secret = base32(&self.0);
        format!("otpauth://totp/{app}:{account}?secret={secret}&issuer={app}")
    }

    #[cfg(test)]
    pub(crate) fn now(&self) -> String {
        format!(
            "{:06}",
            self.code(time::OffsetDateTime::now_utc().unix_timestamp() / STEP_SECONDS)
        )
    }

    /// RFC 4226, section 5.3.
    fn code(&self, step: i64) -> u32 {
        let mac = mac::<Hmac<Sha1>>(&self.0, &[&step.to_be_bytes()]);
        let at = usize::from(mac[19] & 15);
        let four = [mac[at] & 127, mac[at + 1], mac[at + 2], mac[at + 3]];
        u32::from_be_bytes(four) % 1_000_000
    }

    /// The step it is good for; the latest if several.
    fn step(&self, code: u32, now: i64) -> Option<i64> {
        let current = now / STEP_SECONDS;
        let steps = (current - STEPS_OFF..=current + STEPS_OFF).rev();
        steps.filter(|step| self.code(*step) == code).max()
    }
}

/// Makes and judges codes.
#[derive(Clone, Debug)]
pub struct OneTime {
    banyan: Banyan,
    keys: Keyring,
}

impl OneTime {
    pub fn new(banyan: &Banyan, keys: Keyring) -> Self {
        Self {
            banyan: banyan.clone(),
            keys,
        }
    }

    /// Whether `code` is what the user's authenticator shows now, and was not used before. Five tries in five minutes per user.
    pub async fn check_totp(
        &self,
        owner: impl Display,
        secret: &TotpSecret,
        code: &str,
    ) -> Result<bool, OneTimeError> {
        let owner = owner.to_string();
        self.may_try("totp", &owner).await?;
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let Some(step) = number(code).and_then(|code| secret.step(code, now)) else {
            return Ok(false);
        };
        let used = sqlx::query(
            "insert into banyan.totp_used (owner, step) values ($1, $2)
             on conflict (owner) do update set step = excluded.step where totp_used.step < excluded.step",
        );
        let used = used
            .bind(&owner)
            .bind(step)
            .execute(self.database().pool())
            .await?;
        Ok(used.rows_affected() == 1)
    }

    /// A code of six digits for `purpose` ("reset", "log-in"), good for `lifetime` (five minutes are usual), for one use and five
    /// tries; the one before it is worth nothing. Send it to nobody but `owner`.
    pub async fn send_code(
        &self,
        purpose: &str,
        owner: impl Display,
        lifetime: Duration,
    ) -> Result<String, OneTimeError> {
        let owner = owner.to_string();
        self.may_try("code", &owner).await?;
        let code = format!("{:06}", rand::random_range(0..1_000_000));
        sqlx::query(
            "insert into banyan.one_time_code (purpose, owner, mac, until)
             values ($1, $2, $3, now() + make_interval(secs => $4))
             on conflict (purpose, owner) do update set mac = excluded.mac, until = excluded.until, tries = 0",
        )
        .bind(purpose)
        .bind(&owner)
        .bind(code_mac(self.keys.first(), purpose, &owner, &code))
        .bind(lifetime.as_secs_f64())
        .execute(self.database().pool())
        .await?;
        Ok(code)
    }

    /// Whether it is the code that was sent; then it is used up.
    pub async fn check_code(
        &self,
        purpose: &str,
        owner: impl Display,
        code: &str,
    ) -> Result<bool, OneTimeError> {
        let owner = owner.to_string();
        let tried = sqlx::query(
            "update banyan.one_time_code set tries = tries + 1
             where purpose = $1 and owner = $2 and tries < $3 and until > now()",
        );
        let tried = tried
            .bind(purpose)
            .bind(&owner)
            .bind(MAILED_TRIES)
            .execute(self.database().pool())
            .await?;
        if tried.rows_affected() == 0 {
            return Ok(false);
        }
        let keys = self.keys.keys.iter();
        let macs: Vec<Vec<u8>> = keys
            .map(|key| code_mac(key, purpose, &owner, code.trim()))
            .collect();
        // Compared by the database, as a code that nobody can know in part: its HMAC tells nothing by how much of it fits.
        let used = sqlx::query(
            "delete from banyan.one_time_code where purpose = $1 and owner = $2 and mac = any($3)",
        );
        let used = used
            .bind(purpose)
            .bind(&owner)
            .bind(&macs)
            .execute(self.database().pool())
            .await?;
        Ok(used.rows_affected() == 1)
    }

    async fn may_try(&self, what: &str, owner: &str) -> Result<(), OneTimeError> {
        let decision = self
            .banyan
            .limiter()
            .check(&format!("{what}:{owner}"), TRIES)
            .await;
        decision
            .retry_after
            .map_or(Ok(()), |wait| Err(OneTimeError::TooMany(wait)))
    }

    fn database(&self) -> &Database {
        self.banyan.db()
    }
}

fn code_mac(key: &Key, purpose: &str, owner: &str, code: &str) -> Vec<u8> {
    mac::<Hmac<Sha256>>(
        &key.seed,
        &[
            b"one-time\0",
            purpose.as_bytes(),
            b"\0",
            owner.as_bytes(),
            b"\0",
            code.as_bytes(),
        ],
    )
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

fn number(code: &str) -> Option<u32> {
    let digits: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    let is_code = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_code.then(|| digits.parse().ok()).flatten()
}

/// RFC 4648, section 6; the 20 bytes need no padding.
fn base32(bytes: &[u8; 20]) -> String {
    let mut text = String::with_capacity(32);
    for five in bytes.chunks_exact(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let digit = usize::try_from(bits >> (place * 5) & 31).unwrap_or_default();
            text.push(char::from(BASE32[digit]));
        }
    }
    text
}

fn percent(text: &str) -> String {
    let encode = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::from_bytes(*b"12345678901234567890")
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six digits.
        let at = |seconds: i64| format!("{:06}", secret().code(seconds / STEP_SECONDS));
        assert_eq!(at(59), "287082");
        assert_eq!(at(1_111_111_109), "081804");
        assert_eq!(at(1_234_567_890), "005924");
        assert_eq!(at(20_000_000_000), "353130");
    }

    #[test]
    fn a_clock_may_be_a_step_off_and_no_more() {
        let code = secret().code(10);
        let judged = |now: i64| secret().step(code, now);
        assert_eq!(judged(300), Some(10));
        assert_eq!(judged(299), Some(10));
        assert_eq!(judged(359), Some(10));
        assert_eq!(judged(360), None);
        assert_eq!(judged(269), None);
    }

    #[test]
    fn an_authenticator_scans_the_secret() {
        assert_eq!(
            secret().url("My shop", "ann@x.test"),
            "otpauth://totp/My%20shop:ann%40x.test?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=My%20shop"
        );
        assert_eq!(number(" 123 456"), Some(123_456));
        assert_eq!(number("12345"), None);
        assert_eq!(number("+12345"), None);
    }
}
