//! Where a site is reached right now.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::Visit;

/// While an address changes both stand here, as in a name's DNS records.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    /// Of a listener that passes connections on as they are; none: there is no such listener.
    pub listener: Vec<SocketAddr>,
}

/// To the first address at which somebody listens.
pub(super) async fn connect(places: &[SocketAddr]) -> Visit<TcpStream> {
    for place in places {
        match TcpStream::connect(place).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(format!("no connection to {place}: {error}")),
        }
    }
    Err(format!("nobody listens at {places:?}"))
}
