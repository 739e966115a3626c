//! Requests and responses written as text, and a clock that starts at a known second.

use std::time::Duration;

use banyan_httpcache::{
    Admit, Answered, Asked, Head, Lookup, Policy, Profile, Standing, Stored, Time, Times, admit, lookup,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Sat, 21 Nov 2026 12:00:00 GMT
pub(crate) const START: Time = Time::from_seconds(1_795_262_400);

pub(crate) fn at(seconds: u64) -> Time {
    START.plus(Duration::from_secs(seconds))
}

pub(crate) fn rfc() -> Policy {
    Policy {
        profile: Profile::Rfc,
        ..Policy::default()
    }
}

/// Fields written as lines: `Cache-Control: max-age=60`.
pub(crate) fn fields(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a field has a colon");
        headers.append(
            HeaderName::try_from(name.trim()).expect("a field's name"),
            HeaderValue::from_str(value.trim()).expect("a field's value"),
        );
    }
    headers
}

/// The response to a GET without fields, received at `START`.
pub(crate) fn stored_as(policy: &Policy, status: u16, response: &str) -> Admit {
    answer_to(policy, "", status, response)
}

pub(crate) fn answer_to(policy: &Policy, request: &str, status: u16, response: &str) -> Admit {
    received(policy, request, status, response, START)
}

pub(crate) fn received(policy: &Policy, request: &str, status: u16, response: &str, when: Time) -> Admit {
    let (request, response) = (fields(request), fields(response));
    let asked = Asked {
        method: &Method::GET,
        headers: &request,
    };
    let answered = Answered {
        status: StatusCode::from_u16(status).expect("a status"),
        headers: &response,
    };
    admit(
        asked,
        answered,
        policy,
        Times {
            sent: when,
            received: when,
            ahead: Duration::ZERO,
        },
    )
}

/// The stored head, or why there is none.
pub(crate) fn head(policy: &Policy, response: &str) -> Head {
    kept(stored_as(policy, 200, response))
}

pub(crate) fn kept(admit: Admit) -> Head {
    match admit {
        Admit::Yes(head) => *head,
        Admit::No(why) => panic!("not stored: {why}"),
    }
}

/// `stored`, or the reason.
pub(crate) fn verdict(admit: &Admit) -> String {
    match admit {
        Admit::Yes(_) => "stored".to_owned(),
        Admit::No(why) => why.to_string(),
    }
}

pub(crate) fn sound(head: &Head) -> Stored<'_> {
    Stored {
        head,
        standing: Standing::Sound,
        length: 1000,
    }
}

/// What a GET with these fields gets so many seconds after `START`.
pub(crate) fn get(policy: &Policy, stored: &[Head], request: &str, seconds: u64) -> Lookup {
    ask(policy, &Method::GET, stored, request, seconds)
}

pub(crate) fn ask(policy: &Policy, method: &Method, stored: &[Head], request: &str, seconds: u64) -> Lookup {
    let headers = fields(request);
    let asked = Asked {
        method,
        headers: &headers,
    };
    let stored: Vec<Stored<'_>> = stored.iter().map(sound).collect();
    lookup(asked, &stored, policy, at(seconds))
}

/// The verdict in a word or two.
pub(crate) fn word(lookup: &Lookup) -> String {
    match lookup {
        Lookup::Hit { index, .. } => format!("hit {index}"),
        Lookup::Stale { index, refresh, .. } => format!("stale {index} {refresh:?}").to_lowercase(),
        Lookup::Validate { index, why, .. } => format!("validate {index}: {why}"),
        Lookup::Fill { index, gaps } => {
            let gaps: Vec<String> = gaps
                .iter()
                .map(|gap| format!("{}-{}", gap.first, gap.last))
                .collect();
            format!("fill {index}: {}", gaps.join(","))
        }
        Lookup::Miss(why) => format!("miss: {why}"),
        Lookup::Bypass(why) => format!("bypass: {why}"),
        Lookup::GatewayTimeout => "504".to_owned(),
    }
}
