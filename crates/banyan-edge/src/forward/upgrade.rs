//! After a 101: bytes both ways until one side ends, or the drain does.

use http::{Response, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::answer::InstanceBody;
use crate::core::Stage;
use crate::exchange::Exchange;
use crate::respond::Outcome;

/// Starts the tunnel; it owns the exchange and the request's place, so that both count as in flight until its end.
pub(crate) fn tunnel(exchange: Exchange, client: OnUpgrade, response: Response<InstanceBody>) {
    let core = exchange.core.clone();
    let mut stage = core.stage.subscribe();
    let Some((mut instance, in_flight)) = response.into_body().into_tunnel() else {
        return;
    };
    core.spawn("tunnel", async move {
        let (_in_flight, mut exchange) = (in_flight, exchange);
        let Ok(client) = client.await else {
            return;
        };
        let mut client = TokioIo::new(client);
        tokio::select! {
            copied = copy_bidirectional(&mut client, &mut instance) => {
                if let Ok((_, to_client)) = copied {
                    exchange.bytes = to_client;
                    exchange.outcome = Outcome::Answered;
                }
            }
            _ended = stage.wait_for(|stage| *stage == Stage::Ended) => {}
        }
    });
}

/// Whether the instance agreed; its headers are passed on as they are.
pub(crate) fn agreed(response: &Response<InstanceBody>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS && response.headers().contains_key(header::UPGRADE)
}
