//! Signed links: an address that opens its path, or all below a prefix, until it expires.
//!
//! What a link says is in its query: `banyan-key`, `banyan-expires` (seconds since 1970), perhaps `banyan-prefix` and
//! `banyan-client` (a network), and `banyan-signature`: HMAC-SHA256 (RFC 2104) of [`Claim::text`] in hexadecimal digits. The
//! path is signed as it is decoded, so that a browser may escape it in another way; without a prefix the rest of the query is
//! signed as it stands. The host is not: another domain of the same key opens, too. None of it reaches the cache or an instance.

use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use http::Uri;
use sha2::Sha256;

use banyan_config::Network;

use crate::respond::LinkFault;
use crate::route::path;

const KEY: &str = "banyan-key";
const EXPIRES: &str = "banyan-expires";
const PREFIX: &str = "banyan-prefix";
const CLIENT: &str = "banyan-client";
const SIGNATURE: &str = "banyan-signature";

/// The first signs, all verify.
#[derive(Default)]
pub struct LinkKeys(Vec<(String, [u8; 32])>);

/// What a link is to open.
pub struct Terms {
    /// All below the path, not only it.
    pub below: bool,
    /// Seconds since 1970.
    pub expires: u64,
    /// From where; `None`: from everywhere.
    pub client: Option<Network>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the key file has no key of that name")]
    NoKey,
    #[error("the path can be read in two ways (encoded slash, dot segment or empty segment)")]
    Ambiguous,
    #[error("a prefix ends with /")]
    NoFolder,
    #[error("the address is signed already")]
    SignedAlready,
    #[error("the address cannot carry a signature")]
    TooLong,
}

/// What was signed, as far as the request tells.
struct Claim<'a> {
    key: &'a str,
    expires: u64,
    client: &'a str,
    scope: Scope<'a>,
}

enum Scope<'a> {
    Path { path: &'a str, query: &'a str },
    Prefix(&'a str),
}

impl Claim<'_> {
    /// A line each: none of them can hold a line break, so that no two claims have the same text.
    fn text(&self) -> String {
        let (kind, path, query) = match self.scope {
            Scope::Path { path, query } => ("path", path, query),
            Scope::Prefix(prefix) => ("prefix", prefix, ""),
        };
        let (key, expires, client) = (self.key, self.expires, self.client);
        format!("banyan-link-1\n{key}\n{expires}\n{client}\n{kind}\n{path}\n{query}")
    }
}

/// What a request brings along.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Presented {
    key: Option<String>,
    expires: Option<String>,
    prefix: Option<String>,
    client: Option<String>,
    signature: Option<String>,
    /// One of them is there twice, or cannot be read.
    odd: bool,
    path: String,
    /// The query without them.
    query: String,
}

impl Presented {
    /// Takes it out of the address; `None`: there is nothing of it.
    pub(crate) fn take(uri: &mut Uri) -> Option<Self> {
        let query = uri.query()?;
        if !query.contains("banyan-") {
            return None;
        }
        let mut found = Self::default();
        let mut rest: Vec<&str> = Vec::new();
        let mut any = false;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                KEY => &mut found.key,
                EXPIRES => &mut found.expires,
                PREFIX => &mut found.prefix,
                CLIENT => &mut found.client,
                SIGNATURE => &mut found.signature,
                _ => {
                    rest.push(pair);
                    continue;
                }
            };
            any = true;
            let value = path::decode_query(value).filter(|value| !value.contains('\n'));
            found.odd |= value.is_none() || place.is_some();
            *place = value.map(std::borrow::Cow::into_owned);
        }
        if !any {
            return None;
        }
        found.query = rest.join("&");
        // An ambiguous path is opened by nothing.
        found.path = path::decode(uri.path())
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default();
        *uri = path::with_query(uri, &found.query)?;
        Some(found)
    }
}

impl LinkKeys {
    /// Lines `name:secret`, the secret as 64 hexadecimal digits; others are passed over, as the configuration was checked.
    pub fn read(text: &str) -> Self {
        let key = |(name, hex): (&str, &str)| Some((name.to_owned(), super::api_key::digest_of(hex)?));
        Self(super::basic::pairs(text).filter_map(key).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Path and query of the signed link. `key`: by its name, else the first.
    pub fn sign(&self, uri: &Uri, key: Option<&str>, terms: &Terms) -> Result<String, SignError> {
        let named = |(name, _): &&(String, [u8; 32])| key.is_none_or(|key| key == name);
        let (name, secret) = self.0.iter().find(named).ok_or(SignError::NoKey)?;
        let path = path::decode(uri.path()).ok_or(SignError::Ambiguous)?;
        let query = uri.query().unwrap_or_default();
        if Presented::take(&mut uri.clone()).is_some() {
            return Err(SignError::SignedAlready);
        }
        let client = terms.client.map(|client| client.to_string()).unwrap_or_default();
        if terms.below && !path.ends_with('/') {
            return Err(SignError::NoFolder);
        }
        let scope = if terms.below {
            Scope::Prefix(&path)
        } else {
            Scope::Path { path: &path, query }
        };
        let claim = Claim {
            key: name,
            expires: terms.expires,
            client: &client,
            scope,
        };
        let signature = hex(&mac(secret, &claim.text()).finalize().into_bytes());
        let mut own = format!("{KEY}={}&{EXPIRES}={}", escape(name), terms.expires);
        if terms.below {
            own += &format!("&{PREFIX}={}", escape(&path));
        }
        if !client.is_empty() {
            own += &format!("&{CLIENT}={}", escape(&client));
        }
        let before = if query.is_empty() {
            String::new()
        } else {
            format!("{query}&")
        };
        let signed = format!("{}?{before}{own}&{SIGNATURE}={signature}", uri.path());
        signed.parse::<Uri>().map_err(|_| SignError::TooLong)?;
        Ok(signed)
    }

    /// The signature comes first, in constant time: without one nobody learns what else is wrong.
    pub(crate) fn judge(&self, shown: &Presented, client: IpAddr, now: u64) -> Result<(), LinkFault> {
        let (Some(key), Some(expires), Some(signature), false) = (
            &shown.key,
            &shown.expires,
            &shown.signature,
            shown.odd || shown.path.is_empty(),
        ) else {
            return Err(LinkFault::Wrong);
        };
        // Only as it was written when it was signed.
        let expires = expires.parse::<u64>().ok().filter(|n| n.to_string() == *expires);
        let (Some(expires), Some(signature)) = (expires, super::api_key::digest_of(signature)) else {
            return Err(LinkFault::Wrong);
        };
        let scope = match &shown.prefix {
            Some(prefix) if prefix.ends_with('/') && shown.path.starts_with(prefix.as_str()) => {
                Scope::Prefix(prefix)
            }
            Some(_) => return Err(LinkFault::Wrong),
            None => Scope::Path {
                path: &shown.path,
                query: &shown.query,
            },
        };
        let networks = shown.client.as_deref().unwrap_or_default();
        let claim = Claim {
            key,
            expires,
            client: networks,
            scope,
        };
        let text = claim.text();
        let sound = |(name, secret): &(String, [u8; 32])| {
            name == key && mac(secret, &text).verify_slice(&signature).is_ok()
        };
        if !self.0.iter().any(sound) {
            return Err(LinkFault::Wrong);
        }
        if now >= expires {
            return Err(LinkFault::Expired);
        }
        let inside = |text: &str| {
            text.parse::<Network>()
                .is_ok_and(|network| network.contains(client))
        };
        if !networks.is_empty() && !inside(networks) {
            return Err(LinkFault::OtherClient);
        }
        Ok(())
    }
}

fn mac(secret: &[u8; 32], text: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// For a value of a query.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NEW: &str = "new:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    const OLD: &str = "old:ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn keys() -> LinkKeys {
        LinkKeys::read(&format!("# newest first\n{NEW}{OLD}"))
    }

    fn terms(below: bool, client: Option<&str>) -> Terms {
        Terms {
            below,
            expires: 1_800_000_000,
            client: client.map(|text| text.parse().unwrap()),
        }
    }

    fn sign(uri: &str, below: bool) -> String {
        keys()
            .sign(&uri.parse().unwrap(), None, &terms(below, None))
            .unwrap()
    }

    fn judge_at(link: &str, now: u64) -> Result<(), LinkFault> {
        let mut uri: Uri = link.parse().unwrap();
        let shown = Presented::take(&mut uri).ok_or(LinkFault::Missing)?;
        keys().judge(&shown, HERE, now)
    }

    fn judge(link: &str) -> Result<(), LinkFault> {
        judge_at(link, 1_799_999_999)
    }

    #[test]
    fn a_link_opens_its_path_and_query_until_it_expires() {
        let link = sign("https://a.example/private/a%20b.jpg?w=400", false);
        // By another implementation of HMAC.
        let signature = "84c6dae896840107612c328a3bdc75ae78830b8892f0c9ab4805053b95c3d494";
        let own = "banyan-key=new&banyan-expires=1800000000&banyan-signature";
        assert_eq!(link, format!("/private/a%20b.jpg?w=400&{own}={signature}"));
        assert_eq!(judge(&link), Ok(()));
        // Another spelling of the same path, and the parameters at another place.
        let (target, own) = link.split_once("?w=400&").unwrap();
        assert_eq!(
            judge(&format!("{}?{own}&w=400", target.replace("private", "%70rivate"))),
            Ok(())
        );
        assert_eq!(judge_at(&link, 1_800_000_000), Err(LinkFault::Expired));
        assert_eq!(judge("/private/a%20b.jpg?w=400"), Err(LinkFault::Missing));
        for (from, to) in [
            ("w=400", "w=401"),
            ("w=400&", ""),
            ("w=400", "w=400&x=1"),
            ("a%20b", "a%20c"),
            ("1800000000", "1900000000"),
            ("1800000000", "01800000000"),
            ("banyan-key=new", "banyan-key=old"),
            ("banyan-key=new&", ""),
            ("banyan-key=new", "banyan-key=new&banyan-key=new"),
            ("banyan-signature=84c6", "banyan-signature=04c6"),
            ("banyan-signature=84c6", "banyan-signature="),
            ("/private/", "/private/../private/"),
            ("banyan-expires", "banyan-client=0.0.0.0/0&banyan-expires"),
            ("banyan-expires", "banyan-prefix=/&banyan-expires"),
        ] {
            assert!(link.contains(from), "{from}");
            assert_eq!(
                judge(&link.replace(from, to)),
                Err(LinkFault::Wrong),
                "{from} → {to}"
            );
        }
    }

    #[test]
    fn a_prefix_opens_all_below_it_and_nothing_beside() {
        let link = sign("/albums/7/", true);
        let (_, own) = link.split_once('?').unwrap();
        for inside in [
            "/albums/7/",
            "/albums/7/a.jpg",
            "/albums/7/b/c.jpg",
            "/albums/%37/a.jpg",
        ] {
            assert_eq!(judge(&format!("{inside}?w=1&{own}")), Ok(()), "{inside}");
        }
        for outside in [
            "/albums/7",
            "/albums/77/a.jpg",
            "/albums/7/%2e%2e/8/a.jpg",
            "/albums/7%2fa",
            "/",
        ] {
            assert_eq!(
                judge(&format!("{outside}?{own}")),
                Err(LinkFault::Wrong),
                "{outside}"
            );
        }
        let folder: Uri = "/albums/7".parse().unwrap();
        assert_eq!(
            keys().sign(&folder, None, &terms(true, None)),
            Err(SignError::NoFolder)
        );
    }

    #[test]
    fn a_link_for_one_network_opens_there_only_and_each_key_signs_on_request() {
        let uri: Uri = "/a".parse().unwrap();
        let sign = |key, client| keys().sign(&uri, key, &terms(false, client)).unwrap();
        assert_eq!(judge(&sign(Some("old"), Some("203.0.113.0/24"))), Ok(()));
        assert_eq!(
            judge(&sign(None, Some("2001:db8::/32"))),
            Err(LinkFault::OtherClient)
        );
        let gone = LinkKeys::read(OLD);
        let shown = Presented::take(&mut sign(None, None).parse().unwrap()).unwrap();
        assert_eq!(gone.judge(&shown, HERE, 1), Err(LinkFault::Wrong));
        assert_eq!(
            keys().sign(&uri, Some("other"), &terms(false, None)),
            Err(SignError::NoKey)
        );
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest_as_it_was() {
        for (whole, rest) in [
            ("/a?x=1&banyan-key=n&y=%20", "/a?x=1&y=%20"),
            ("/a?banyan-signature=", "/a"),
            ("/a?banyan-keys=1", "/a?banyan-keys=1"),
            ("/a?x=banyan-key", "/a?x=banyan-key"),
        ] {
            let mut uri: Uri = whole.parse().unwrap();
            let taken = Presented::take(&mut uri);
            assert_eq!((uri.to_string().as_str(), taken.is_some()), (rest, whole != rest));
        }
    }

    proptest! {
        /// Whatever is put into an address, it opens nothing without the key.
        #[test]
        fn nothing_opens_without_a_key(query in "(banyan-(key|expires|prefix|client|signature)=[a-f0-9/%.]{0,70}&){0,6}") {
            let link = format!("/a?{query}");
            prop_assert!(judge(&link).is_err());
        }

        #[test]
        fn what_is_signed_opens(path in "(/[a-zA-Z0-9 ._-]{1,8}){1,4}", query in "[a-z0-9=&]{0,20}") {
            prop_assume!(path::decode(&path).is_some());
            let link = sign(&format!("{}?{query}", path.replace(' ', "%20")), false);
            prop_assert_eq!(judge(&link), Ok(()));
        }
    }
}
