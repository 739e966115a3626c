//! Which PROXY protocol a process is spoken to in.

use serde::{Deserialize, Serialize};

/// The PROXY protocol (haproxy.org, proxy-protocol.txt): who the client is, in front of what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl ProxyProtocol {
    pub const ALL: [Self; 2] = [Self::V1, Self::V2];

    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }

    /// What a connection of our own, for no client, begins with: a health check.
    pub fn own(self) -> &'static [u8] {
        match self {
            Self::V1 => b"PROXY UNKNOWN\r\n",
            Self::V2 => b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        }
    }
}
