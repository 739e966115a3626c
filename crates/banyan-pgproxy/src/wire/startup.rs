//! What comes before messages have types: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage, as a strict machine.
//!
//! Source: PostgreSQL "Message Formats" and `ProcessStartupPacket`. Each kind of encryption may be asked for once, and
//! nothing may follow such a request in the same bytes (CVE-2021-3935).

use super::frame::text;

/// Longest first packet that is read (`MAX_STARTUP_PACKET_LENGTH`).
pub const LIMIT: usize = 10_000;
const CANCEL: u32 = (1234 << 16) | 5678;
const SSL: u32 = (1234 << 16) | 5679;
const GSS: u32 = (1234 << 16) | 5680;
/// The first byte of a TLS record that holds a handshake.
pub const TLS_HANDSHAKE: u8 = 0x16;

/// What a client may stop a running query by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CancelKey {
    pub process: u32,
    pub secret: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// Answer S (and speak TLS) or N.
    Ssl,
    /// Answer N.
    Gss,
    Cancel(CancelKey),
    Startup(Startup),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Of protocol 3: what the client would like to speak.
    pub minor: u16,
    pub user: String,
    pub database: String,
    /// As sent, without user and database; protocol extensions are in `extensions`.
    pub parameters: Vec<(String, String)>,
    /// Names that begin with `_pq_.`: none is known.
    pub extensions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.0")]
    Protocol { major: u16, minor: u16 },
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    #[error("received unencrypted data after SSL request")]
    Behind,
}

/// The phase before authentication.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine {
    asked_ssl: bool,
    asked_gss: bool,
}

impl Machine {
    /// `bytes`: all that has come. `None`: more are needed. Everything up to a [`First::Startup`] is consumed whole.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<First>, StartupError> {
        let Some(length) = bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if !(8..=LIMIT).contains(&length) {
            return Err(StartupError::Length);
        }
        if bytes.len() < length {
            return Ok(None);
        }
        if bytes.len() > length {
            return Err(StartupError::Behind);
        }
        let code = u32::from_be_bytes(bytes[4..8].try_into().expect("four bytes"));
        let body = &bytes[8..];
        match code {
            SSL if body.is_empty() && !self.asked_ssl => {
                self.asked_ssl = true;
                Ok(Some(First::Ssl))
            }
            GSS if body.is_empty() && !self.asked_gss => {
                self.asked_gss = true;
                Ok(Some(First::Gss))
            }
            CANCEL => cancel(body).map(Some),
            code if code >> 16 == 3 => startup(code as u16, body).map(|s| Some(First::Startup(s))),
            code => Err(StartupError::Protocol {
                major: (code >> 16) as u16,
                minor: code as u16,
            }),
        }
    }

    /// TLS is spoken: asking for encryption again is an error.
    pub fn encrypted(&mut self) {
        self.asked_ssl = true;
        self.asked_gss = true;
    }
}

fn cancel(body: &[u8]) -> Result<First, StartupError> {
    let body: [u8; 8] = body.try_into().map_err(|_| StartupError::Length)?;
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    Ok(First::Cancel(CancelKey {
        process: number(&body[..4]),
        secret: number(&body[4..]),
    }))
}

fn startup(minor: u16, body: &[u8]) -> Result<Startup, StartupError> {
    let mut startup = Startup {
        minor,
        ..Startup::default()
    };
    let mut rest = body;
    loop {
        let (name, after) = text(rest).ok_or(StartupError::Layout)?;
        if name.is_empty() {
            if !after.is_empty() {
                return Err(StartupError::Layout);
            }
            break;
        }
        let (value, after) = text(after).ok_or(StartupError::Layout)?;
        rest = after;
        let name = String::from_utf8_lossy(name).into_owned();
        let value = String::from_utf8_lossy(value).into_owned();
        match name.as_str() {
            "user" => startup.user = value,
            "database" => startup.database = value,
            _ if name.starts_with("_pq_.") => startup.extensions.push(name),
            _ => startup.parameters.push((name, value)),
        }
    }
    if startup.user.is_empty() {
        return Err(StartupError::NoUser);
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    Ok(startup)
}

/// The bytes of a CancelRequest.
pub fn cancel_request(key: CancelKey) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&16_u32.to_be_bytes());
    bytes[4..8].copy_from_slice(&CANCEL.to_be_bytes());
    bytes[8..12].copy_from_slice(&key.process.to_be_bytes());
    bytes[12..].copy_from_slice(&key.secret.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(8 + body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(code.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_startup_split_at_any_byte_is_the_same() {
        let bytes = packet(3 << 16, b"user\0ann\0application_name\0psql\0_pq_.x\0on\0\0");
        for cut in 0..bytes.len() {
            assert_eq!(Machine::default().take(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        let Ok(Some(First::Startup(startup))) = Machine::default().take(&bytes) else {
            panic!("no startup");
        };
        assert_eq!(startup.user, "ann");
        assert_eq!(startup.database, "ann");
        assert_eq!(startup.parameters, [("application_name".into(), "psql".into())]);
        assert_eq!(startup.extensions, ["_pq_.x"]);
    }

    #[test]
    fn encryption_is_asked_for_once_and_nothing_may_follow() {
        let mut machine = Machine::default();
        assert_eq!(machine.take(&packet(GSS, b"")), Ok(Some(First::Gss)));
        assert_eq!(machine.take(&packet(SSL, b"")), Ok(Some(First::Ssl)));
        let again = StartupError::Protocol {
            major: 1234,
            minor: 5679,
        };
        assert_eq!(machine.take(&packet(SSL, b"")), Err(again));
        let mut behind = packet(SSL, b"");
        behind.push(0);
        assert_eq!(Machine::default().take(&behind), Err(StartupError::Behind));
    }

    #[test]
    fn junk_is_refused() {
        let refused = |bytes: &[u8]| Machine::default().take(bytes).unwrap_err();
        assert_eq!(refused(b"GET / HTTP/1.1\r\n"), StartupError::Length);
        assert_eq!(refused(&[0, 0, 0, 7, 0]), StartupError::Length);
        assert_eq!(
            refused(&packet(2 << 16, b"")),
            StartupError::Protocol { major: 2, minor: 0 }
        );
        assert_eq!(refused(&packet(3 << 16, b"user\0ann\0")), StartupError::Layout);
        assert_eq!(refused(&packet(3 << 16, b"user\0ann\0\0x")), StartupError::Layout);
        assert_eq!(
            refused(&packet(3 << 16, b"database\0d\0\0")),
            StartupError::NoUser
        );
        assert_eq!(refused(&packet(CANCEL, b"1234")), StartupError::Length);
    }

    #[test]
    fn a_cancel_request_is_read_as_it_was_written() {
        let key = CancelKey {
            process: 7,
            secret: 0xdead_beef,
        };
        assert_eq!(
            Machine::default().take(&cancel_request(key)),
            Ok(Some(First::Cancel(key)))
        );
    }
}
