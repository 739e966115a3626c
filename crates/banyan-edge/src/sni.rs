//! The name that a TLS client asks for (SNI), read from its first bytes without decrypting anything.
//!
//! Pure: bytes in, a verdict out. A ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2), perhaps over several records, with at
//! most one server_name extension that holds one DNS name (RFC 6066 §3). What is not exactly that is refused, so that no
//! server behind can read another name than we do.

/// More is not read: hellos with post-quantum keys have some 2 KiB.
pub const LONGEST: usize = 16 * 1024;

const RECORD: usize = 5;
const HANDSHAKE: u8 = 22;
/// A record's payload (RFC 8446 §5.1).
const RECORD_LARGEST: usize = 1 << 14;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// So far a ClientHello; more is needed.
    Partial,
    Whole {
        /// Lower case; `None`: the client names nobody.
        name: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    #[error("it does not begin as TLS does")]
    NotTls,
    #[error("the ClientHello is larger than is read")]
    TooLong,
    #[error("the ClientHello is malformed")]
    Malformed,
    #[error("the server name is not one DNS name")]
    Name,
}

/// Never asks for more than [`LONGEST`] bytes.
pub fn parse(bytes: &[u8]) -> Result<Parsed, HelloError> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(length) = hello_length(&message)?
            && message.len() >= length
        {
            // What the client sends behind its hello waits for an answer: nothing may follow.
            return if message.len() == length {
                hello(&message[4..length]).map(|name| Parsed::Whole { name })
            } else {
                Err(HelloError::Malformed)
            };
        }
        let Some(payload) = record(rest)? else {
            return if bytes.len() < LONGEST {
                Ok(Parsed::Partial)
            } else {
                Err(HelloError::TooLong)
            };
        };
        message.extend_from_slice(payload);
        rest = &rest[RECORD + payload.len()..];
    }
}

/// Of the whole handshake message, its own header included; `None`: not known yet.
fn hello_length(message: &[u8]) -> Result<Option<usize>, HelloError> {
    if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err(HelloError::Malformed);
    }
    let Some(header) = message.get(..4) else {
        return Ok(None);
    };
    let length = 4 + usize::from(header[1]) * 65_536 + number(&header[2..4]);
    if length > LONGEST - RECORD {
        return Err(HelloError::TooLong);
    }
    Ok(Some(length))
}

/// The payload of the first record; `None`: it has not come whole.
fn record(bytes: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    let plausible = [
        bytes.first().is_none_or(|kind| *kind == HANDSHAKE),
        bytes.get(1).is_none_or(|major| *major == 3),
        bytes.get(2).is_none_or(|minor| *minor <= 4),
    ];
    if plausible.contains(&false) {
        return Err(HelloError::NotTls);
    }
    let Some(header) = bytes.get(..RECORD) else {
        return Ok(None);
    };
    let length = number(&header[3..5]);
    if length == 0 || length > RECORD_LARGEST {
        return Err(HelloError::NotTls);
    }
    Ok(bytes.get(RECORD..RECORD + length))
}

/// Of a ClientHello without its header.
fn hello(bytes: &[u8]) -> Result<Option<String>, HelloError> {
    let mut reader = Reader(bytes);
    reader.take(2 + 32)?;
    let session = reader.vector(1)?;
    let suites = reader.vector(2)?;
    let compressions = reader.vector(1)?;
    if session.len() > 32 || suites.is_empty() || suites.len() % 2 != 0 || compressions.is_empty() {
        return Err(HelloError::Malformed);
    }
    if reader.0.is_empty() {
        return Ok(None);
    }
    let mut extensions = Reader(reader.vector(2)?);
    if !reader.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut name = None;
    let mut seen = false;
    while !extensions.0.is_empty() {
        let kind = number(extensions.take(2)?);
        let content = extensions.vector(2)?;
        if kind == usize::from(SERVER_NAME) {
            if seen {
                return Err(HelloError::Name);
            }
            seen = true;
            name = Some(server_name(content)?);
        }
    }
    Ok(name)
}

fn server_name(content: &[u8]) -> Result<String, HelloError> {
    let mut extension = Reader(content);
    let mut names = Reader(extension.vector(2)?);
    let kind = names.take(1)?[0];
    let name = names.vector(2)?;
    // One name: of several, another server might take another one.
    if !extension.0.is_empty() || !names.0.is_empty() || kind != HOST_NAME {
        return Err(HelloError::Name);
    }
    let label = |label: &[u8]| {
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        (1..=63).contains(&label.len()) && label.iter().all(inner)
    };
    if name.len() > 253 || !name.split(|byte| *byte == b'.').all(label) {
        return Err(HelloError::Name);
    }
    let name = std::str::from_utf8(name).map_err(|_| HelloError::Name)?;
    Ok(name.to_ascii_lowercase())
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// What a length of so many bytes announces.
    fn vector(&mut self, length_bytes: usize) -> Result<&'a [u8], HelloError> {
        let length = number(self.take(length_bytes)?);
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vector(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - length_bytes..], content].concat()
    }

    fn named(name: &[u8]) -> Vec<u8> {
        let list = vector(2, &[&[HOST_NAME][..], &vector(2, name)].concat());
        [&[0, 0][..], &vector(2, &list)].concat()
    }

    fn message(extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend(vector(1, &[9; 32]));
        body.extend(vector(2, &[0x13, 1]));
        body.extend(vector(1, &[0]));
        body.extend(vector(2, extensions));
        [&[CLIENT_HELLO][..], &vector(3, &body)].concat()
    }

    fn records(message: &[u8], each: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[HANDSHAKE, 3, 1][..], &vector(2, part)].concat();
        message.chunks(each).flat_map(record).collect()
    }

    fn asked(extensions: &[u8]) -> Result<Parsed, HelloError> {
        parse(&records(&message(extensions), RECORD_LARGEST))
    }

    #[test]
    fn the_name_is_found_among_other_extensions_and_in_lower_case() {
        let other = [0, 43, 0, 3, 2, 3, 4];
        let all = [&other[..], &named(b"Shop.Example"), &other].concat();
        let name = Some("shop.example".to_owned());
        assert_eq!(asked(&all), Ok(Parsed::Whole { name }));
        assert_eq!(asked(&other), Ok(Parsed::Whole { name: None }));
        assert_eq!(asked(&[]), Ok(Parsed::Whole { name: None }));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let twice = [named(b"a.example"), named(b"b.example")].concat();
        let one = |name: &[u8]| [&[HOST_NAME][..], &vector(2, name)].concat();
        let both = vector(2, &[one(b"a.example"), one(b"b.example")].concat());
        let both = [&[0, 0][..], &vector(2, &both)].concat();
        for extensions in [
            twice,
            both,
            named(b""),
            named(b"a..example"),
            named(b"a.example."),
            named(b"a.example\0.evil"),
            named("ä.example".as_bytes()),
            named(&[b'a'; 300]),
        ] {
            assert_eq!(asked(&extensions), Err(HelloError::Name));
        }
        let mut followed = message(&[]);
        followed.push(1);
        assert_eq!(parse(&records(&followed, 999)), Err(HelloError::Malformed));
    }

    #[test]
    fn other_protocols_are_told_at_their_first_bytes() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0",
            b"\x16\x02\x00",
            b"\x80\x2e\x01",
            b"\x16\x03\x01\0\0",
        ] {
            assert_eq!(parse(bytes), Err(HelloError::NotTls));
        }
        assert_eq!(parse(b"\x16\x03\x01\0\x01\x02"), Err(HelloError::Malformed));
        assert_eq!(
            parse(b"\x16\x03\x01\0\x04\x01\xff\xff\xff"),
            Err(HelloError::TooLong)
        );
        assert_eq!(parse(b""), Ok(Parsed::Partial));
    }

    proptest! {
        /// Whatever comes: no panic, and a longer reading never changes a verdict.
        #[test]
        fn a_verdict_stands(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(|extensions| records(&message(&extensions), 50)),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(|body| records(&[&[CLIENT_HELLO][..], &vector(3, &body)].concat(), 99)),
            ("[a-zA-Z0-9._-]{0,80}", 0_usize..200, any::<u8>()).prop_map(|(name, at, byte)| {
                let mut bytes = records(&message(&named(name.as_bytes())), 64);
                let at = at % bytes.len();
                bytes[at] = byte;
                bytes
            }),
        ]) {
            let mut before = Ok(Parsed::Partial);
            for length in 0..=bytes.len() {
                let now = parse(&bytes[..length]);
                if before != Ok(Parsed::Partial) {
                    prop_assert_eq!(&now, &before);
                }
                before = now;
            }
        }

        #[test]
        fn a_hello_in_any_pieces_is_a_hello(name in "[a-z]{1,20}(\\.[a-z0-9-]{1,20}){0,4}", each in 1_usize..200) {
            let bytes = records(&message(&named(name.as_bytes())), each);
            prop_assert_eq!(parse(&bytes), Ok(Parsed::Whole { name: Some(name) }));
            prop_assert_eq!(parse(&bytes[..bytes.len() - 1]), Ok(Parsed::Partial));
        }
    }
}
