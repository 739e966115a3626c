//! What a finished handshake has agreed on, for counters and logs.

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Tls12,
    Tls13,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub version: Version,
    /// By a ticket of an earlier one.
    pub resumed: bool,
}

impl Version {
    pub const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// `1.2`, `1.3`: OpenTelemetry's `tls.protocol.version`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

impl Session {
    /// Of a connection whose handshake is done.
    pub fn of(connection: &ServerConnection) -> Self {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            _ => Version::Tls13,
        };
        Self {
            version,
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}
