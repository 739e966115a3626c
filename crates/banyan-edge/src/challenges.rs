//! What a CA asks for by plain HTTP to see that a domain is ours (http-01, RFC 8555 §8.3): answered before anything else of a
//! request happens, on every listener, so that redirects and routes cannot be in the way.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, Response, header};

const PREFIX: &str = "/.well-known/acme-challenge/";

#[derive(Debug)]
pub(crate) struct Challenges(BTreeMap<String, String>);

impl Challenges {
    /// `None`: nobody asks for anything.
    pub(crate) fn of(answers: BTreeMap<String, String>) -> Option<Self> {
        (!answers.is_empty()).then_some(Self(answers))
    }

    /// Paths of no token of ours are the app's.
    pub(crate) fn answer(&self, path: &str) -> Option<Response<Bytes>> {
        let text = self.0.get(path.strip_prefix(PREFIX)?)?;
        let mut response = Response::new(Bytes::from(text.clone()));
        let kind = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Some(response)
    }
}
