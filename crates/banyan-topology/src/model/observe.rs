//! The role that keeps what is measured.

use std::net::{Ipv4Addr, SocketAddr};

use banyan_config::{Alerts, ObserveSettings};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observe {
    /// Of the dashboard, on 127.0.0.1.
    pub port: u16,
    pub settings: ObserveSettings,
    /// `None`: no rule is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Alerts>,
}

impl Observe {
    pub fn listen(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
