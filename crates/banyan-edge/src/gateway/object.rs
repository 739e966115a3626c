//! The object that an aggregate answers: parts in their order, or why there is none. Pure.

use http::StatusCode;
use serde::de::IgnoredAny;

use banyan_config::OnFailure;

use crate::respond::Refusal;

/// Why a part has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What it answered, or the edge in its place.
    pub status: StatusCode,
    pub why: String,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: refusal.status(),
            why: refusal.message().to_owned(),
        }
    }
}

impl Fault {
    /// What the whole answers if it fails by this part: the client's own mistake is told as such.
    pub(super) fn of_whole(&self) -> StatusCode {
        let told = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        if self.status.is_client_error() || told.contains(&self.status) {
            self.status
        } else {
            StatusCode::BAD_GATEWAY
        }
    }
}

/// A part's value out of its answer.
pub(super) fn value(status: StatusCode, body: &[u8]) -> Result<String, Fault> {
    let fault = |status, why: String| Err(Fault { status, why });
    if !status.is_success() {
        return fault(status, format!("it answered {}", status.as_u16()));
    }
    if status == StatusCode::NO_CONTENT || body.is_empty() {
        return Ok("null".to_owned());
    }
    match std::str::from_utf8(body) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Ok(text.trim().to_owned()),
        _ => fault(StatusCode::BAD_GATEWAY, "its answer is no JSON".to_owned()),
    }
}

pub(super) struct Outcome<'a> {
    pub name: &'a str,
    pub on_failure: OnFailure,
    pub value: Result<String, Fault>,
}

/// The object and the names of the parts that it has no value of; `Err`: the part that the whole fails by.
pub(super) fn object<'a>(parts: &'a [Outcome<'a>]) -> Result<(String, Vec<&'a str>), (&'a str, &'a Fault)> {
    let failed = || {
        let parts = parts.iter();
        parts.filter_map(|part| Some((part, part.value.as_ref().err()?)))
    };
    let fails = failed().find(|(part, _)| part.on_failure == OnFailure::Fail);
    let all = (failed().count() == parts.len())
        .then(|| failed().next())
        .flatten();
    if let Some((part, fault)) = fails.or(all) {
        return Err((part.name, fault));
    }
    let members: Vec<String> = parts.iter().filter_map(member).collect();
    let missing = failed().map(|(part, _)| part.name).collect();
    Ok((format!("{{{}}}\n", members.join(",")), missing))
}

fn member(part: &Outcome<'_>) -> Option<String> {
    let name = serde_json::Value::from(part.name);
    let value = match (&part.value, part.on_failure) {
        (Ok(value), _) => value.clone(),
        (Err(_), OnFailure::Omit) => return None,
        (Err(_), OnFailure::Null | OnFailure::Fail) => "null".to_owned(),
        (Err(fault), OnFailure::Note) => {
            serde_json::json!({ "status": fault.status.as_u16(), "error": fault.why }).to_string()
        }
    };
    Some(format!("{name}:{value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &'static str, on_failure: OnFailure, value: Result<&str, u16>) -> Outcome<'static> {
        let fault = |status| Fault {
            status: StatusCode::from_u16(status).unwrap(),
            why: format!("it answered {status}"),
        };
        Outcome {
            name,
            on_failure,
            value: value.map(str::to_owned).map_err(fault),
        }
    }

    #[test]
    fn each_failing_part_has_its_own_policy() {
        use OnFailure::{Fail, Note, Null, Omit};
        let some = [
            part("a", Fail, Ok("{\"x\":1}")),
            part("b", Omit, Err(500)),
            part("c\"", Null, Err(504)),
            part("d", Note, Err(404)),
        ];
        let (text, missing) = object(&some).unwrap();
        assert_eq!(
            text,
            "{\"a\":{\"x\":1},\"c\\\"\":null,\"d\":{\"error\":\"it answered 404\",\"status\":404}}\n"
        );
        assert_eq!(missing, ["b", "c\"", "d"]);
        let by = |parts: &[Outcome<'static>]| object(parts).unwrap_err().1.of_whole().as_u16();
        for (status, whole) in [
            (404, 404),
            (500, 502),
            (302, 502),
            (503, 503),
            (504, 504),
            (429, 429),
        ] {
            assert_eq!(
                by(&[part("a", Omit, Ok("1")), part("b", Fail, Err(status))]),
                whole
            );
        }
        // Nothing at all is no answer.
        assert_eq!(by(&[part("a", Omit, Err(404)), part("b", Null, Err(500))]), 404);
    }

    #[test]
    fn only_json_becomes_a_value() {
        let of = |status: u16, body: &[u8]| {
            let fault = |fault: Fault| fault.status.as_u16();
            value(StatusCode::from_u16(status).unwrap(), body).map_err(fault)
        };
        assert_eq!(
            of(200, b" [1, {\"a\": \"\\u00e9\"}]\n").unwrap(),
            "[1, {\"a\": \"\\u00e9\"}]"
        );
        assert_eq!(of(204, b"").unwrap(), "null");
        for body in [
            &b"<html>"[..],
            b"{\"a\":1",
            b"1 2",
            b"{\"a\":1},\"admin\":{}",
            b"\"\xff\"",
            b"NaN",
        ] {
            assert_eq!(of(200, body), Err(502), "{}", body.escape_ascii());
        }
        assert_eq!(of(301, b"1"), Err(301));
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(of(200, deep.as_bytes()).is_ok());
    }
}
