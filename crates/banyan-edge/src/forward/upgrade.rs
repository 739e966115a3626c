//! After a 101: bytes both ways until one side ends, or the drain does.

use http::{Response, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;

use super::answer::{InstanceBody, Tunnel};
use super::pool::InFlight;
use super::tunnel::Joined;
use crate::exchange::Exchange;
use crate::respond::Outcome;

/// An instance that speaks another protocol now. Exchange and place count as in flight for as long as it does.
pub(crate) struct Switched {
    exchange: Exchange,
    instance: Joined<TcpStream>,
    _in_flight: Option<InFlight>,
}

impl Switched {
    pub(crate) fn new(exchange: Exchange, tunnel: Tunnel) -> Self {
        let (instance, in_flight) = tunnel;
        Self {
            exchange,
            instance,
            _in_flight: in_flight,
        }
    }
}

/// Bytes both ways; ends with the one who polls it.
pub(crate) async fn tunnel(mut switched: Switched, mut client: impl AsyncRead + AsyncWrite + Unpin) {
    let copied = copy_bidirectional(&mut client, &mut switched.instance).await;
    if let Ok((_, to_client)) = copied {
        switched.exchange.bytes = to_client;
        switched.exchange.outcome = Outcome::Answered;
    }
}

/// Whether the instance agreed; its headers are passed on as they are.
pub(crate) fn agreed(response: &Response<InstanceBody>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && response.headers().contains_key(header::UPGRADE)
}
