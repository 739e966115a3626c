//! User and password (RFC 7617). The hash is computed elsewhere (`passwords`); a verdict is remembered for a moment, under
//! a mark that changes with the file's line.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cache::{Mark, mark};

/// A good password is not asked again for so long.
pub(crate) const KEEP: Duration = Duration::from_secs(300);
/// Nor a wrong one: repeating it costs no hash.
pub(crate) const KEEP_WRONG: Duration = Duration::from_secs(10);
/// Longer ones are no passwords.
const LONGEST: usize = 1024;

/// Name and hash.
#[derive(Default)]
pub(crate) struct Users(BTreeMap<String, String>);

/// Who claims to be whom, not yet judged.
pub(crate) struct Asked {
    pub user: String,
    pub password: Vec<u8>,
    /// `None`: nobody of this name. The wait is as long.
    pub hash: Option<String>,
    pub mark: Mark,
}

impl Users {
    pub(crate) fn read(text: &str) -> Self {
        Self(
            pairs(text)
                .map(|(name, hash)| (name.to_owned(), hash.to_owned()))
                .collect(),
        )
    }

    /// `None`: that is no name and password.
    pub(crate) fn ask(&self, credentials: &str) -> Option<Asked> {
        let plain = decode(credentials).filter(|plain| plain.len() <= LONGEST)?;
        let colon = plain.iter().position(|b| *b == b':')?;
        let user = String::from_utf8(plain[..colon].to_vec()).ok()?;
        let password = plain[colon + 1..].to_vec();
        let hash = self.0.get(&user).cloned();
        let line = hash.as_deref().unwrap_or_default().as_bytes();
        Some(Asked {
            mark: mark(&[user.as_bytes(), &password, line]),
            user,
            password,
            hash,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// `name:value` lines.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
}

/// Base64 (RFC 4648 §4), with or without its padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    if text.len() % 4 == 1 {
        return None;
    }
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::with_capacity(text.len() * 3 / 4));
    for b in text {
        let six = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648 §10.
        for (text, plain) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
            ("Zm9vYg", "foob"),
        ] {
            assert_eq!(decode(text).unwrap(), plain.as_bytes(), "{text}");
        }
        assert!(decode("Z").is_none() && decode("Zm9v!").is_none() && decode("Zm 9v").is_none());
    }

    #[test]
    fn name_and_password_are_split_at_the_first_colon_and_a_changed_line_is_another_question() {
        let (one, other) = (Users::read("ann:$2y$a"), Users::read("ann:$2y$b"));
        // Aladdin:open sesame, of RFC 7617 §2.
        let asked = one.ask("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(
            (asked.user.as_str(), asked.password.as_slice()),
            ("Aladdin", &b"open sesame"[..])
        );
        assert!(asked.hash.is_none());
        // ann:a:b
        let first = one.ask("YW5uOmE6Yg==").unwrap();
        assert_eq!(
            (first.password.as_slice(), first.hash.as_deref()),
            (&b"a:b"[..], Some("$2y$a"))
        );
        assert_ne!(first.mark, other.ask("YW5uOmE6Yg==").unwrap().mark);
        assert!(one.ask("YW5u").is_none(), "no colon");
    }
}
