//! What a trace is made of: steps with a beginning and a length, as the roles and the app tell of them. Pure.
//!
//! Identifiers are those of W3C Trace Context; in JSON they are hexadecimal text, times are Unix microseconds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Of a trace: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub u128);

/// Of a span: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub u64);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    /// `None`: nobody asked for it that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// Whose step it is: `edge`, `web.1@r3`, `pgproxy`, or a service of the app.
    pub who: String,
    /// What it does, in a few words and without values.
    pub name: String,
    pub start_us: u64,
    pub took_us: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// Its sender wants the whole trace kept: it was chosen, or is slow, or has failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

impl Span {
    pub fn end_us(&self) -> u64 {
        self.start_us.saturating_add(self.took_us)
    }
}

impl SpanId {
    /// Another step of the same request, told apart by a number; the same each time.
    pub fn beside(self, number: u64) -> Self {
        let mixed = (self.0 ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((mixed ^ (mixed >> 32)).max(1))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u128::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(number))
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)?;
        Ok(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::TraceParent;

    #[test]
    fn a_span_is_written_in_hexadecimal_and_read_as_the_same() {
        let parent = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let span = Span {
            trace: parent.trace(),
            id: parent.span().beside(1),
            parent: Some(parent.span()),
            who: "edge".to_owned(),
            name: "GET /".to_owned(),
            start_us: 1_760_000_000_000_000,
            took_us: 1_500,
            failed: false,
            keep: true,
            fields: BTreeMap::from([("status".to_owned(), "200".to_owned())]),
        };
        let text = serde_json::to_string(&span).unwrap();
        assert!(
            text.contains("\"trace\":\"0af7651916cd43dd8448eb211c80319c\"") && !text.contains("failed"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Span>(&text).unwrap(), span);
        assert_ne!(parent.span().beside(1), parent.span().beside(2));
    }
}
