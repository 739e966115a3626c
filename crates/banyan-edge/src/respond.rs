//! Every failure to an answer: one file, no default arm.
//!
//! The page says what happened in words for the person who sees it, with the request's id for the person who is asked.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::grpc;
use banyan_upstream::retry::{Effect, RETRY_AFTER};

/// Why a request is answered by the edge itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Ambiguous or malformed; what is wrong.
    BadRequest(&'static str),
    MethodNotAllowed,
    /// Plain, where https is wanted; where to is in the exchange.
    UseHttps {
        /// The method and body must stay what they are.
        keep_method: bool,
    },
    /// The client's address may not use the route.
    Forbidden,
    /// Pages of that site may not use it (CORS).
    ForeignOrigin,
    /// The client has not shown who it is, as the route asks.
    Unauthorized,
    /// It has, and lacks a right.
    NotAllowed,
    /// The route opens to signed links, and this is none.
    BadLink(LinkFault),
    /// It looks like one (docs/waf.md). `in_body`: the app has got a part of it.
    Attack {
        message: &'static str,
        in_body: bool,
    },
    /// Who it is cannot be told now: no keys yet, or too many passwords to judge.
    CannotTell,
    /// More than the rate limit lets through; when to come again is in the exchange.
    TooManyRequests,
    /// The client makes new connections too fast.
    TooManyConnections,
    /// The header was not complete in time.
    HeaderTimeout,
    /// The body came too slowly.
    BodyTooSlow,
    BodyTooLarge,
    RequestLineTooLong,
    HeaderTooLarge,
    /// The client ended its body early: nobody is left to read the answer.
    ClientGone,
    /// No instance was ready in time.
    NoEndpoint,
    /// Every instance had as much as it may have, for too long or with too many waiting.
    Busy,
    /// The instance could not be reached, or broke off.
    BadGateway(Effect),
    /// The instance answered with more than it may.
    AnswerTooLarge,
    /// The instance did not answer in time.
    GatewayTimeout,
    /// The request has been here before (RFC 8586).
    Loop,
}

/// What is wrong with a signed link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkFault {
    Missing,
    /// Changed, of another address, or of a key that is no longer in use.
    Wrong,
    Expired,
    /// It is for other networks.
    OtherClient,
}

/// What the log says of a request's effect: exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An instance answered in full.
    Answered,
    /// Refused before any effect.
    Refused,
    /// An instance may have acted, the client was not told.
    Unknown,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

impl Refusal {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::ClientGone => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UseHttps { keep_method: true } => StatusCode::PERMANENT_REDIRECT,
            Self::UseHttps { keep_method: false } => StatusCode::MOVED_PERMANENTLY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden
            | Self::NotAllowed
            | Self::ForeignOrigin
            | Self::BadLink(_)
            | Self::Attack { .. } => StatusCode::FORBIDDEN,
            Self::HeaderTimeout | Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestLineTooLong => StatusCode::URI_TOO_LONG,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooManyConnections | Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::NoEndpoint | Self::Busy | Self::CannotTell => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway(_) | Self::AnswerTooLarge => StatusCode::BAD_GATEWAY,
            Self::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::BadRequest(what) => what,
            Self::Attack { message, .. } => message,
            Self::Forbidden => "this is not open to your address",
            Self::MethodNotAllowed => "this method is not served here",
            Self::UseHttps { .. } => "this is served by https only",
            Self::TooManyConnections => {
                "too many new connections from your address; please try again shortly"
            }
            Self::ForeignOrigin => "pages of that site may not use this",
            Self::Unauthorized => "this is open only to those who show who they are",
            Self::NotAllowed => "you may not use this",
            Self::BadLink(LinkFault::Missing) => "this opens by a signed link only",
            Self::BadLink(LinkFault::Wrong) => "the signature of this link is not good",
            Self::BadLink(LinkFault::Expired) => "this link has expired",
            Self::BadLink(LinkFault::OtherClient) => "this link is not for your address",
            Self::CannotTell => "who you are cannot be told right now; please try again shortly",
            Self::TooManyRequests => "too many requests; please try again shortly",
            Self::HeaderTimeout => "the request header was not complete in time",
            Self::BodyTooSlow => "the request body came too slowly",
            Self::BodyTooLarge => "the request body is larger than allowed",
            Self::RequestLineTooLong => "the address is longer than allowed",
            Self::HeaderTooLarge => "the request header is larger than allowed",
            Self::ClientGone => "the request body ended early",
            Self::Busy => "the application has more to do than it can; please try again shortly",
            Self::NoEndpoint => "no instance of the application is ready; please try again shortly",
            Self::BadGateway(Effect::None) => "the application could not be reached; nothing was changed",
            Self::BadGateway(Effect::Unknown) => {
                "the application broke off; it may have acted on the request"
            }
            Self::AnswerTooLarge => "the answer of the application is larger than allowed",
            Self::Loop => "the request goes in a circle: it has been here before",
            Self::GatewayTimeout => {
                "the application did not answer in time; it may have acted on the request"
            }
        }
    }

    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::BadRequest(_)
            | Self::MethodNotAllowed
            | Self::UseHttps { .. }
            | Self::Forbidden
            | Self::ForeignOrigin
            | Self::Unauthorized
            | Self::NotAllowed
            | Self::BadLink(_)
            | Self::Attack { in_body: false, .. }
            | Self::CannotTell
            | Self::TooManyRequests
            | Self::TooManyConnections
            | Self::HeaderTimeout
            | Self::RequestLineTooLong
            | Self::HeaderTooLarge
            | Self::NoEndpoint
            | Self::Busy
            | Self::Loop
            | Self::BadGateway(Effect::None) => Outcome::Refused,
            // The head and a part of the body may have been passed on before the limit was met.
            Self::Attack { in_body: true, .. }
            | Self::BodyTooSlow
            | Self::BodyTooLarge
            | Self::ClientGone
            | Self::BadGateway(Effect::Unknown)
            | Self::AnswerTooLarge
            | Self::GatewayTimeout => Outcome::Unknown,
        }
    }

    /// Whether what follows on the connection can no longer be trusted or is not wanted.
    fn closes(self) -> bool {
        match self {
            Self::BadRequest(_)
            | Self::Attack { in_body: true, .. }
            | Self::TooManyConnections
            | Self::HeaderTimeout
            | Self::BodyTooSlow
            | Self::BodyTooLarge
            | Self::RequestLineTooLong
            | Self::HeaderTooLarge
            | Self::ClientGone => true,
            Self::Forbidden
            | Self::ForeignOrigin
            | Self::Unauthorized
            | Self::NotAllowed
            | Self::BadLink(_)
            | Self::Attack { in_body: false, .. }
            | Self::CannotTell
            | Self::TooManyRequests
            | Self::MethodNotAllowed
            | Self::UseHttps { .. }
            | Self::NoEndpoint
            | Self::Busy
            | Self::Loop
            | Self::BadGateway(_)
            | Self::AnswerTooLarge
            | Self::GatewayTimeout => false,
        }
    }
}

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Html,
    Json,
    /// The end of a gRPC call.
    Grpc,
}

impl Form {
    /// HTML for whoever asks for it by name (browsers do), JSON for programs.
    pub(crate) fn wanted(headers: &http::HeaderMap) -> Self {
        // Told apart by the length first: most programs say `*/*` or nothing.
        let html =
            |value: &HeaderValue| value.len() >= 9 && value.to_str().is_ok_and(|v| v.contains("text/html"));
        if headers.get_all(header::ACCEPT).iter().any(html) {
            Self::Html
        } else {
            Self::Json
        }
    }
}

pub(crate) fn page(refusal: Refusal, form: Form, request_id: &HeaderValue) -> Response<Bytes> {
    let mut response = notice(refusal.status(), refusal.message(), form, request_id);
    let headers = response.headers_mut();
    if [
        Refusal::NoEndpoint,
        Refusal::Busy,
        Refusal::CannotTell,
        Refusal::TooManyConnections,
    ]
    .contains(&refusal)
    {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    if refusal == Refusal::MethodNotAllowed {
        headers.insert(
            header::ALLOW,
            HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        );
    }
    if refusal.closes() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A page that says one thing.
pub(crate) fn notice(
    status: StatusCode,
    message: &str,
    form: Form,
    request_id: &HeaderValue,
) -> Response<Bytes> {
    let id = request_id.to_str().unwrap_or_default();
    let (kind, text) = match form {
        Form::Html => ("text/html; charset=utf-8", html(status, message, id)),
        Form::Json => ("application/json", json(status, message, id)),
        Form::Grpc => return grpc::refusal(status, message),
    };
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn html(status: StatusCode, message: &str, id: &str) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    let code = status.as_u16();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{code} {reason}</title>\n\
         <body style=\"font-family:sans-serif;max-width:36em;margin:4em auto\"><h1>{code} {reason}</h1>\n\
         <p>{}.</p><p><small>Request {}</small></p></body></html>\n",
        escape(message.trim_end_matches('.')),
        escape(id)
    )
}

/// A trusted proxy's request id may hold any visible byte.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn json(status: StatusCode, message: &str, id: &str) -> String {
    let value = serde_json::json!({ "status": status.as_u16(), "error": message, "request_id": id });
    format!("{value}\n")
}
