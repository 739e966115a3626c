//! OTLP: spans that apps send as protobuf, to spans of ours and back (pure); where they come in (`serve`) and go out (`send`).
//!
//! Source: opentelemetry.io/docs/specs/otlp (1.x). Limits per span: [`FIELDS`] attributes, [`LONGEST`] characters each; secret
//! keys are masked. A span without identifiers is rejected, the others of its request are taken.

mod message;
pub(crate) mod send;
pub(crate) mod serve;

use std::collections::BTreeMap;

use banyan_telemetry::redact;
use banyan_telemetry::span::{Span, SpanId, TraceId};
use prost::Message;

use message::{
    AnyValue, ExportTraces, Exported, KeyValue, OtlpSpan, PartialSuccess, Plain, Resource, ResourceSpans,
    ScopeSpans, Status,
};

const FIELDS: usize = 32;
const LONGEST: usize = 300;
/// Of a status.
const ERROR: i32 = 2;

/// What a request brought.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Brought {
    pub(crate) spans: Vec<Span>,
    /// Spans that cannot be used.
    pub(crate) rejected: usize,
}

/// An `ExportTraceServiceRequest`.
pub(crate) fn read(body: &[u8]) -> Result<Brought, prost::DecodeError> {
    let request = ExportTraces::decode(body)?;
    let mut brought = Brought::default();
    for resource in request.resource_spans {
        let attributes = resource
            .resource
            .map(|resource| resource.attributes)
            .unwrap_or_default();
        let service = attributes
            .iter()
            .find(|pair| pair.key == "service.name")
            .and_then(text);
        let instance = attributes
            .iter()
            .find(|pair| pair.key == "service.instance.id")
            .and_then(text);
        let who = instance.or(service).unwrap_or_else(|| "app".to_owned());
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            match of(&who, span) {
                Some(span) => brought.spans.push(span),
                None => brought.rejected += 1,
            }
        }
    }
    Ok(brought)
}

/// An `ExportTraceServiceResponse`.
pub(crate) fn answer(rejected: usize, why: &str) -> Vec<u8> {
    let partial_success = (rejected > 0).then(|| PartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: why.to_owned(),
    });
    Exported { partial_success }.encode_to_vec()
}

/// An `ExportTraceServiceRequest` of these, a resource for each who told of some.
pub(crate) fn write(spans: &[Span]) -> Vec<u8> {
    let mut by_who: BTreeMap<&str, Vec<OtlpSpan>> = BTreeMap::new();
    for span in spans {
        by_who.entry(&span.who).or_default().push(to(span));
    }
    let resource_spans = by_who.into_iter().map(|(who, spans)| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![pair("service.name", who)],
        }),
        scope_spans: vec![ScopeSpans { spans }],
    });
    ExportTraces {
        resource_spans: resource_spans.collect(),
    }
    .encode_to_vec()
}

fn to(span: &Span) -> OtlpSpan {
    OtlpSpan {
        trace_id: span.trace.0.to_be_bytes().to_vec(),
        span_id: span.id.0.to_be_bytes().to_vec(),
        parent_span_id: span
            .parent
            .map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec()),
        name: span.name.clone(),
        start_time_unix_nano: span.start_us.saturating_mul(1000),
        end_time_unix_nano: span.end_us().saturating_mul(1000),
        attributes: span
            .fields
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect(),
        status: span.failed.then(|| Status {
            message: String::new(),
            code: ERROR,
        }),
    }
}

fn pair(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            plain: Some(Plain::Text(value.to_owned())),
        }),
    }
}

fn of(who: &str, span: OtlpSpan) -> Option<Span> {
    let trace = u128::from_be_bytes(span.trace_id.try_into().ok()?);
    let id = u64::from_be_bytes(span.span_id.try_into().ok()?);
    if trace == 0 || id == 0 {
        return None;
    }
    let parent: Option<[u8; 8]> = span.parent_span_id.try_into().ok();
    let failed = span.status.as_ref().is_some_and(|status| status.code == ERROR);
    let mut fields: BTreeMap<String, String> = span
        .attributes
        .iter()
        .take(FIELDS)
        .filter_map(|pair| Some((pair.key.clone(), text(pair)?)))
        .collect();
    if let Some(status) = span.status.filter(|status| !status.message.is_empty()) {
        fields.insert("error".to_owned(), short(&redact::text(&status.message)));
    }
    Some(Span {
        trace: TraceId(trace),
        id: SpanId(id),
        parent: parent.map(u64::from_be_bytes).filter(|id| *id != 0).map(SpanId),
        who: short(who),
        name: short(&redact::text(&span.name)),
        start_us: span.start_time_unix_nano / 1000,
        took_us: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) / 1000,
        failed,
        keep: false,
        fields,
    })
}

fn text(pair: &KeyValue) -> Option<String> {
    let plain = pair.value.as_ref()?.plain.as_ref()?;
    if redact::is_secret(&pair.key) {
        return Some(redact::MASK.to_owned());
    }
    Some(match plain {
        Plain::Text(text) => short(&redact::text(text)),
        Plain::Boolean(value) => value.to_string(),
        Plain::Integer(value) => value.to_string(),
        Plain::Number(value) => value.to_string(),
    })
}

fn short(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn request() -> Vec<u8> {
        let span = OtlpSpan {
            trace_id: 0xabc_u128.to_be_bytes().to_vec(),
            span_id: 2_u64.to_be_bytes().to_vec(),
            parent_span_id: 1_u64.to_be_bytes().to_vec(),
            name: "charge".to_owned(),
            start_time_unix_nano: 5_000_000,
            end_time_unix_nano: 8_000_000,
            attributes: vec![
                pair("card_number", "4242"),
                KeyValue {
                    key: "tries".to_owned(),
                    value: Some(AnyValue {
                        plain: Some(Plain::Integer(2)),
                    }),
                },
            ],
            status: Some(Status {
                message: "declined".to_owned(),
                code: ERROR,
            }),
        };
        let nameless = OtlpSpan {
            span_id: Vec::new(),
            ..span.clone()
        };
        let attributes = vec![pair("service.name", "payment")];
        ExportTraces {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes }),
                scope_spans: vec![ScopeSpans {
                    spans: vec![span, nameless],
                }],
            }],
        }
        .encode_to_vec()
    }

    #[test]
    fn a_span_is_taken_with_its_service_and_without_secrets_and_one_without_identifiers_rejected() {
        let brought = read(&request()).unwrap();
        assert_eq!(brought.rejected, 1);
        let span = &brought.spans[0];
        assert_eq!((span.who.as_str(), span.name.as_str()), ("payment", "charge"));
        assert_eq!(
            (span.trace, span.id, span.parent),
            (TraceId(0xabc), SpanId(2), Some(SpanId(1)))
        );
        assert_eq!((span.start_us, span.took_us, span.failed), (5_000, 3_000, true));
        let fields: Vec<(&str, &str)> = span
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [("card_number", "***"), ("error", "declined"), ("tries", "2")]
        );
        assert!(answer(0, "").is_empty() && !answer(1, "no identifiers").is_empty());
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let spans = crate::traces::tree::tests::example();
        let mut failed = spans.clone();
        failed[3].failed = true;
        let mut read = read(&write(&failed)).unwrap().spans;
        read.sort_by_key(|span| span.id);
        assert_eq!(read, failed);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60), cut in 0_usize..150) {
            drop(read(&bytes));
            let mut whole = request();
            whole.truncate(cut);
            whole.append(&mut bytes);
            drop(read(&whole));
        }
    }
}
