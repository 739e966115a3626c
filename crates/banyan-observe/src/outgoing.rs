//! One POST to somebody outside. No redirects, nothing kept open; https is believed by the system's authorities. Who asks sets the
//! limit of time.

use std::path::Path;

use banyan_tls::client::{self, Trust};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Where Debian keeps the CAs that a system believes.
pub(crate) const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// None shows the path: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("the address is not a URL")]
    Address,
    #[error("failed to reach {0}: {1}")]
    Reach(String, String),
    #[error("failed to speak HTTP: {0}")]
    Speak(#[from] hyper::Error),
}

/// What was answered; what it said besides is not read.
pub(crate) async fn post(url: &str, kind: &str, body: Bytes) -> Result<StatusCode, PostError> {
    let uri: Uri = url.parse().map_err(|_| PostError::Address)?;
    let host = uri.host().ok_or(PostError::Address)?;
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let unreached = |why: String| PostError::Reach(format!("{host}:{port}"), why);
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |host| host.as_str()))
        .header(header::CONTENT_TYPE, kind)
        .header(header::USER_AGENT, "banyan-observe")
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|_| PostError::Address)?;
    let stream = TcpStream::connect((name, port)).await;
    let stream = stream.map_err(|error| unreached(error.to_string()))?;
    if !secure {
        return send(request, stream).await;
    }
    let stream = client::connect(stream, name, Trust::Bundle(Path::new(AUTHORITIES)), &["http/1.1"]).await;
    send(request, stream.map_err(|error| unreached(error.to_string()))?).await
}

async fn send<S>(request: Request<Full<Bytes>>, stream: S) -> Result<StatusCode, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answered = tokio::select! {
        answered = answer.as_mut() => answered,
        // The connection may end with the answer.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    Ok(answered?.status())
}
