//! What the connection asks of the session's cookie, and 503 for a request whose session could not be reached.
//!
//! Inside, the cookie is always `__Host-sid` and secure, so that forgetting this layer is safe. Over plain HTTP no browser would
//! keep it (RFC 6265bis, section 4.1.3.2): there it is `sid` without `Secure`. One is never taken for the other.

use std::cell::Cell;

use axum::extract::Request;
use axum::http::header::{COOKIE, RETRY_AFTER, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

pub(super) const SECURE: &str = "__Host-sid";
const PLAIN: &str = "sid";

tokio::task_local! {
    /// The store could not be reached by this request.
    static AWAY: Cell<bool>;
}

pub(super) fn note_away() {
    // Outside of a request nobody asks.
    AWAY.try_with(|away| away.set(true)).ok();
}

/// Around all of an app.
pub(crate) async fn fit_to_connection(mut request: Request, next: Next) -> Response {
    let is_secure = is_secure(request.headers());
    if !is_secure {
        rename_incoming(request.headers_mut());
    }
    AWAY.scope(Cell::new(false), async move {
        let mut response = next.run(request).await;
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR && AWAY.with(Cell::get) {
            let retry = [(RETRY_AFTER, "1")];
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                retry,
                "sessions cannot be reached\n",
            )
                .into_response();
        }
        fit_outgoing(response.headers_mut(), is_secure);
        response
    })
    .await
}

/// As the edge says, which lets nobody else say it.
fn is_secure(headers: &HeaderMap) -> bool {
    headers
        .get("x-forwarded-proto")
        .is_some_and(|proto| proto == "https")
}

fn rename_incoming(headers: &mut HeaderMap) {
    let old: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    if old.is_empty() {
        return;
    }
    headers.remove(COOKIE);
    for value in old {
        let renamed = value
            .to_str()
            .ok()
            .and_then(|text| HeaderValue::from_str(&renamed(text)).ok());
        headers.append(COOKIE, renamed.unwrap_or(value));
    }
}

fn renamed(cookies: &str) -> String {
    let pairs = cookies
        .split(';')
        .map(str::trim)
        .filter_map(|pair| match pair.split_once('=') {
            Some((SECURE, _)) => None,
            Some((PLAIN, value)) => Some(format!("{SECURE}={value}")),
            _ => Some(pair.to_owned()),
        });
    pairs.collect::<Vec<_>>().join("; ")
}

fn fit_outgoing(headers: &mut HeaderMap, is_secure: bool) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let old: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
    headers.remove(SET_COOKIE);
    for value in old {
        let fitted = value.to_str().ok().and_then(|text| fitted(text, is_secure));
        let fitted = fitted.and_then(|text| HeaderValue::from_str(&text).ok());
        headers.append(SET_COOKIE, fitted.unwrap_or(value));
    }
}

/// `None`: another cookie.
fn fitted(cookie: &str, is_secure: bool) -> Option<String> {
    let rest = cookie.strip_prefix(SECURE)?.strip_prefix('=')?;
    let attributes = rest
        .split(';')
        .map(str::trim)
        .filter(|part| !part.eq_ignore_ascii_case("secure"));
    let rest = attributes.collect::<Vec<_>>().join("; ");
    // A removal comes without it, and browsers would not take one of this name.
    Some(if is_secure {
        format!("{SECURE}={rest}; Secure")
    } else {
        format!("{PLAIN}={rest}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_plain_http_the_cookie_has_the_plain_name_alone() {
        assert_eq!(renamed("a=1; sid=x; __Host-sid=y; b"), "a=1; __Host-sid=x; b");
        let set = "__Host-sid=x; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60";
        assert_eq!(
            fitted(set, false).as_deref(),
            Some("sid=x; HttpOnly; SameSite=Lax; Path=/; Max-Age=60")
        );
    }

    #[test]
    fn over_tls_every_cookie_of_the_session_is_secure_and_others_are_left_alone() {
        let set = "__Host-sid=x; HttpOnly; SameSite=Lax; Secure; Path=/";
        assert_eq!(
            fitted(set, true).as_deref(),
            Some("__Host-sid=x; HttpOnly; SameSite=Lax; Path=/; Secure")
        );
        let removal = "__Host-sid=; Path=/; Max-Age=0";
        assert_eq!(
            fitted(removal, true).as_deref(),
            Some("__Host-sid=; Path=/; Max-Age=0; Secure")
        );
        assert_eq!(fitted("theme=dark; Secure", false), None);
        assert_eq!(fitted("__Host-sidecar=1", false), None);
    }
}
