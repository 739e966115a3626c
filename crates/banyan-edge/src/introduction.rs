//! What an instance hears of a request besides the client's own words: who asks (`X-Forwarded-*`), the request's id, its
//! step of a trace.
//!
//! Where nothing on the way reads or changes these fields they are put into no map: who writes the head to an HTTP/1
//! instance writes them behind its lines. Not so for clients that say any of them themselves.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use banyan_config::{EdgeSettings, Sticky};
use banyan_telemetry::trace::TraceParent;

use crate::headers::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REQUEST_ID};
use crate::http1::outbox::field;

pub(crate) const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

pub(crate) struct Introduction<'a> {
    /// The client's.
    pub address: &'a HeaderValue,
    /// It came by https.
    pub secure: bool,
    pub id: &'a HeaderValue,
    pub trace: Option<TraceParent>,
}

/// Whether no setting has these fields read or changed on the way, as far as all requests are concerned.
pub(crate) fn may_be_late(settings: &EdgeSettings) -> bool {
    // A cookie's `Secure` is decided by them; an instance's time may have one of their names.
    let cookie = matches!(settings.sticky, Some(Sticky::Cookie(_)));
    !cookie && settings.deadline_header.is_none()
}

impl Introduction<'_> {
    /// Behind the fields of a head. `host`: what the client asked for.
    pub(crate) fn write(&self, text: &mut Vec<u8>, host: Option<&HeaderValue>) {
        field(text, FORWARDED_FOR.as_str(), self.address.as_bytes());
        field(text, FORWARDED_PROTO.as_str(), self.scheme().as_bytes());
        if let Some(host) = host {
            field(text, FORWARDED_HOST.as_str(), host.as_bytes());
        }
        field(text, REQUEST_ID.as_str(), self.id.as_bytes());
        if let Some(trace) = self.trace {
            field(text, TRACE_PARENT.as_str(), &trace.text());
        }
    }

    /// For instances whose heads are written from a map.
    pub(crate) fn insert(&self, headers: &mut HeaderMap) {
        headers.insert(FORWARDED_FOR, self.address.clone());
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(self.scheme()));
        if let Some(host) = headers.get(header::HOST).cloned() {
            headers.insert(FORWARDED_HOST, host);
        }
        headers.insert(REQUEST_ID, self.id.clone());
        if let Some(Ok(trace)) = self.trace.map(|trace| HeaderValue::from_bytes(&trace.text())) {
            headers.insert(TRACE_PARENT, trace);
        }
    }

    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_late_is_what_a_map_would_have_held() {
        let (address, id) = (
            HeaderValue::from_static("10.0.0.9"),
            HeaderValue::from_static("id-1"),
        );
        for (secure, trace, host) in [
            (false, None, None),
            (true, Some(TraceParent::begin(7, 9, true)), Some("a")),
        ] {
            let introduction = Introduction {
                address: &address,
                secure,
                id: &id,
                trace,
            };
            let mut map = HeaderMap::new();
            let host = host.map(HeaderValue::from_static);
            if let Some(host) = &host {
                map.insert(header::HOST, host.clone());
            }
            introduction.insert(&mut map);
            let mut text = Vec::new();
            introduction.write(&mut text, host.as_ref());
            let mut held = Vec::new();
            for (name, value) in map.iter().filter(|(name, _)| *name != header::HOST) {
                field(&mut held, name.as_str(), value.as_bytes());
            }
            assert_eq!(text.escape_ascii().to_string(), held.escape_ascii().to_string());
        }
    }
}
