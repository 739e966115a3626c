//! A small text from a URL, for the control task: no redirects, nothing kept open. Limits: 1 MiB, 10 s.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use banyan_tls::client::{self, ClientError, Trust};

const LONGEST: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(10);
/// Where Debian keeps the CAs that a system believes.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0} is not a URL")]
    Url(String),
    #[error("failed to reach {0}: {1}")]
    Reach(String, io::Error),
    #[error("{0}: {1}{cause}", cause = cause(.1))]
    Tls(String, ClientError),
    #[error("{0}: {1}")]
    Http(String, hyper::Error),
    #[error("{0} answered {1}")]
    Status(String, StatusCode),
    #[error("{0} answered more than a key set is")]
    TooLong(String),
    #[error("{0} answered no text")]
    NoText(String),
    #[error("{0} did not answer within 10 s")]
    Slow(String),
}

/// What TLS says of it: people see the one line.
fn cause(error: &ClientError) -> String {
    error
        .source()
        .map_or_else(String::new, |cause| format!(": {cause}"))
}

/// `ca`: PEM file of who is believed; `None`: whom the system believes.
pub(super) async fn text(url: &str, ca: Option<&Path>) -> Result<String, FetchError> {
    let answer = timeout(LIMIT, get(url, ca)).await;
    answer.unwrap_or_else(|_| Err(FetchError::Slow(url.to_owned())))
}

async fn get(url: &str, ca: Option<&Path>) -> Result<String, FetchError> {
    let wrong = || FetchError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?;
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port))
        .await
        .map_err(|error| FetchError::Reach(url.to_owned(), error))?;
    if !secure {
        return ask(url, &uri, stream).await;
    }
    let bundle = ca.map_or_else(|| PathBuf::from(SYSTEM), Path::to_owned);
    let stream = client::connect(stream, name, Trust::Bundle(&bundle), &["http/1.1"])
        .await
        .map_err(|error| FetchError::Tls(url.to_owned(), error))?;
    ask(url, &uri, stream).await
}

async fn ask<S>(url: &str, uri: &Uri, stream: S) -> Result<String, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error| FetchError::Http(url.to_owned(), error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |host| host.as_str()))
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "banyan-edge")
        .header(header::CONNECTION, "close")
        .body(String::new())
        .map_err(|_| FetchError::Url(url.to_owned()))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(url.to_owned(), response.status()));
        }
        let text = whole(url, response.into_body()).await?;
        String::from_utf8(text).map_err(|_| FetchError::NoText(url.to_owned()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        text = answer.as_mut() => text,
        // The connection may end before what it brought is taken.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(failed(error)),
        },
    }
}

async fn whole(url: &str, mut body: Incoming) -> Result<Vec<u8>, FetchError> {
    let mut text = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| FetchError::Http(url.to_owned(), error))?;
        let data: &[u8] = frame.data_ref().map_or(&[], Bytes::as_ref);
        if text.len() + data.len() > LONGEST {
            return Err(FetchError::TooLong(url.to_owned()));
        }
        text.extend_from_slice(data);
    }
    Ok(text)
}
