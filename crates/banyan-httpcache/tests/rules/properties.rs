//! What holds for every response: more caution never means more reuse.

use std::collections::HashSet;
use std::time::Duration;

use banyan_httpcache::{
    Admit, Failure, Freshened, Head, Key, Lookup, OnError, Policy, Profile, Standing, Stored, Time, freshen,
    on_error,
};
use http::Method;
use proptest::prelude::*;

use crate::world::{answer_to, ask, at, fields, get, rfc, stored_as};

fn directives() -> impl Strategy<Value = Vec<String>> {
    let one = prop_oneof![
        (0..100_u64).prop_map(|n| format!("max-age={n}")),
        (0..100_u64).prop_map(|n| format!("s-maxage={n}")),
        (0..100_u64).prop_map(|n| format!("stale-while-revalidate={n}")),
        (0..100_u64).prop_map(|n| format!("stale-if-error={n}")),
        prop::sample::select(vec![
            "public",
            "private",
            "no-cache",
            "no-store",
            "must-revalidate",
            "must-understand",
            "immutable",
            "x=\"a, b\"",
            "no-cache=\"x-a\"",
            "max-age=x",
            "",
        ])
        .prop_map(String::from),
    ];
    prop::collection::vec(one, 0..5)
}

const VARIED: [&str; 3] = ["Foo", "Bar", "Cookie"];

/// Which of these fields a request has, and with what.
fn asks() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let field = (prop::sample::select(VARIED.to_vec()), "[ab]|a, ?b");
    prop::collection::vec(field, 0..3)
}

fn vary() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(VARIED.to_vec()), 0..3)
}

fn written(asked: &[(&str, String)]) -> String {
    asked
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect()
}

/// As one list, without what means nothing; `None`: absent.
fn value(asked: &[(&str, String)], name: &str) -> Option<String> {
    let lines: Vec<_> = asked
        .iter()
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value.as_str())
        .collect();
    (!lines.is_empty()).then(|| lines.join(",").replace(' ', ""))
}

fn response(directives: &[String], tag: bool) -> String {
    let tag = if tag { "ETag: \"a\"\n" } else { "" };
    format!("{tag}Cache-Control: {}", directives.join(", "))
}

/// How freely a response is reused: 0 never, 1 after validation, 2 stale, 3 fresh.
fn freedom(admit: Admit, seconds: u64) -> u8 {
    let Admit::Yes(head) = admit else { return 0 };
    match get(&rfc(), &[*head], "", seconds) {
        Lookup::Hit { .. } => 3,
        Lookup::Stale { .. } => 2,
        Lookup::Validate { .. } => 1,
        Lookup::Fill { .. } | Lookup::Miss(_) | Lookup::Bypass(_) | Lookup::GatewayTimeout => 0,
    }
}

proptest! {
    #[test]
    fn a_forbidding_directive_never_makes_a_response_more_reusable(
        list in directives(),
        tag in any::<bool>(),
        seconds in 0..200_u64,
        forbids in prop::sample::select(vec!["no-store", "private", "no-cache"]),
    ) {
        let before = freedom(stored_as(&rfc(), 200, &response(&list, tag)), seconds);
        let mut more = list;
        more.push(forbids.to_owned());
        let after = freedom(stored_as(&rfc(), 200, &response(&more, tag)), seconds);
        prop_assert!(after <= before);
    }

    #[test]
    fn order_and_line_splitting_change_nothing_where_nothing_is_said_twice(
        mut list in directives(), tag in any::<bool>(),
    ) {
        let mut names = HashSet::new();
        list.retain(|one| names.insert(one.split('=').next().unwrap_or_default().to_owned()));
        let head = |text: &str| match stored_as(&rfc(), 200, text) {
            Admit::Yes(head) => Ok((head.lifetime, head.staleness, head.always_validate)),
            Admit::No(why) => Err(why),
        };
        let joined = head(&response(&list, tag));
        let mut turned = list.clone();
        turned.reverse();
        prop_assert_eq!(&head(&response(&turned, tag)), &joined);
        let tag = if tag { "ETag: \"a\"\n" } else { "" };
        let lines: String = list.iter().map(|one| format!("Cache-Control: {one}\n")).collect();
        prop_assert_eq!(&head(&format!("{tag}{lines}Cache-Control:")), &joined);
    }

    #[test]
    fn age_never_falls(seconds in prop::collection::vec(0..10_000_u64, 2..9)) {
        let Admit::Yes(head) = stored_as(&rfc(), 200, "Cache-Control: max-age=60\nAge: 3") else {
            return Err(TestCaseError::fail("not stored"));
        };
        let mut sorted = seconds;
        sorted.sort_unstable();
        let ages: Vec<Duration> = sorted.iter().map(|s| head.age_at(at(*s))).collect();
        prop_assert!(ages.is_sorted());
    }

    #[test]
    fn a_second_304_changes_nothing(list in directives()) {
        let Admit::Yes(head) = stored_as(&rfc(), 200, &response(&list, true)) else { return Ok(()) };
        let once = renew(&head);
        let Freshened::Renewed(first) = once else { return Ok(()) };
        prop_assert_eq!(renew(&first), Freshened::Renewed(first.clone()));
    }

    /// The one that matters most: no response reaches a request whose named fields differ.
    #[test]
    fn vary_is_never_crossed(
        first in "[a-c]?", second in "[a-c]?", profile in prop_oneof![Just(Profile::Safe), Just(Profile::Rfc)],
    ) {
        let policy = Policy { profile, ..Policy::default() };
        let field = |value: &str| if value.is_empty() { String::new() } else { format!("Foo: {value}") };
        let admit = answer_to(&policy, &field(&first), 200, "Cache-Control: max-age=60\nVary: Foo");
        let Admit::Yes(head) = admit else { return Err(TestCaseError::fail("not stored")) };
        let hit = matches!(get(&policy, &[*head], &field(&second), 1), Lookup::Hit { .. });
        prop_assert_eq!(hit, first == second);
    }

    /// Nothing that a client was authorized for is stored unless the response says that it may be shared.
    #[test]
    fn authorized_responses_are_stored_by_permission_only(list in directives(), policy_ttl in prop::option::of(1..100_u64)) {
        let policy = Policy { ttl: policy_ttl.map(Duration::from_secs), ..rfc() };
        let admit = answer_to(&policy, "Authorization: x", 200, &response(&list, true));
        let shared = list.iter().any(|one| {
            one == "public" || one == "must-revalidate" || one.starts_with("s-maxage")
        });
        prop_assert!(shared || matches!(admit, Admit::No(_)));
    }

    /// By no guess, and not in place of an app that is down: somebody has said that it may be shared.
    #[test]
    fn what_a_cookie_opens_is_for_others_only_where_somebody_says_so(
        list in directives(), kind in prop::sample::select(vec!["text/html", "image/png", "application/pdf"]),
        status in prop::sample::select(vec![200, 203, 301, 404, 410]), tag in any::<bool>(), seconds in 0..200_u64,
    ) {
        let policy = Policy::default();
        let old = format!("Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT\nContent-Type: {kind}\n");
        let admit = answer_to(&policy, "Cookie: session=1", status, &(old + &response(&list, tag)));
        let Admit::Yes(head) = admit else { return Ok(()) };
        let stored = Stored { head: &head, standing: Standing::Sound, length: 9 };
        let given = matches!(get(&policy, &[(*head).clone()], "", seconds), Lookup::Hit { .. } | Lookup::Stale { .. })
            || on_error(stored, Failure::Unreachable, at(seconds)) == OnError::ServeStale;
        let said = list.iter().any(|one| one == "public" || one.contains("max-age=") || one.contains("maxage=") || one.starts_with("stale-"));
        prop_assert!(!given || said, "{list:?}");
    }

    /// RFC 9111 §3.5, §4.1: of any store, whatever was asked before.
    #[test]
    fn a_stored_response_never_reaches_a_request_that_its_vary_or_authorization_forbids(
        history in prop::collection::vec((asks(), any::<bool>(), vary(), directives()), 1..8),
        later in asks(), authorized in any::<bool>(),
        profile in prop_oneof![Just(Profile::Safe), Just(Profile::Rfc)],
        method in prop_oneof![Just(Method::GET), Just(Method::HEAD)],
    ) {
        let policy = Policy { profile, ..Policy::default() };
        let (mut stored, mut known) = (Vec::new(), Vec::new());
        for (asked, authorized, vary, list) in history {
            let request = format!("{}{}", written(&asked), if authorized { "Authorization: x\n" } else { "" });
            let response = format!("{}\nCache-Control: max-age=60\nVary: {}", response(&list, true), vary.join(", "));
            if let Admit::Yes(head) = answer_to(&policy, &request, 200, &response) {
                stored.push(*head);
                known.push((asked, authorized, vary, list));
            }
        }
        let request = format!("{}{}", written(&later), if authorized { "Authorization: y\n" } else { "" });
        let used = match ask(&policy, &method, &stored, &request, 1) {
            Lookup::Hit { index, .. } | Lookup::Stale { index, .. } => index,
            _ => return Ok(()),
        };
        let (asked, for_one, vary, list) = &known[used];
        for name in vary {
            prop_assert_eq!(value(asked, name), value(&later, name), "{}", name);
        }
        let shared = list.iter().any(|one| one == "public" || one == "must-revalidate" || one.starts_with("s-maxage"));
        prop_assert!(!for_one || shared);
    }

    #[test]
    fn no_field_makes_it_panic(text in "[ -~]{0,80}", request in "[ -~]{0,80}") {
        let table = ["Cache-Control", "Vary", "Expires", "Age", "ETag", "CDN-Cache-Control", "Cache-Groups", "Date"];
        for name in table {
            let Admit::Yes(head) = stored_as(&rfc(), 200, &format!("{name}: {text}\nETag: \"a\"")) else { continue };
            for field in ["Range", "If-None-Match", "If-Modified-Since", "If-Range", "Cache-Control", "Accept-Encoding"] {
                let _ = get(&rfc(), std::slice::from_ref(&*head), &format!("{field}: {request}"), 5);
            }
        }
    }

    /// What an app reads as one name is one name here.
    #[test]
    fn a_parameter_that_counts_does_so_in_any_spelling(
        name in "[a-z]{1,4}", escaped in prop::collection::vec(any::<bool>(), 4), upper in any::<bool>(),
        behind in prop::sample::select(vec!["", "[]", "%5B%5D", "[x]"]), before in prop::sample::select(vec!["", "z9=1&", "z9=1;", "z9;"]),
    ) {
        let letters = name.bytes().zip(&escaped);
        let spelled: String = letters.map(|(byte, escaped)| match (escaped, upper) {
            (false, _) => char::from(byte).to_string(),
            (true, true) => format!("%{byte:02X}"),
            (true, false) => format!("%{byte:02x}"),
        }).collect();
        let rule = banyan_httpcache::Query::Only(vec![name]);
        let key = |query: &str| Key::new("https", "a.test", "/", Some(query), &rule, &[]);
        prop_assert_ne!(key(&format!("{before}{spelled}{behind}=2")), key("z9=1"));
    }

    #[test]
    fn keys_of_different_resources_differ(
        a in "/[a-b]{0,2}", b in "/[a-b]{0,2}", x in "[a-b=&]{0,3}", y in "[a-b=&]{0,3}",
    ) {
        let rule = banyan_httpcache::Query::All;
        let key = |path: &str, query: &str| Key::new("https", "A.test:443", path, Some(query), &rule, &[]);
        prop_assert_eq!(key(&a, &x) == key(&b, &y), (&a, &x) == (&b, &y));
    }
}

fn renew(head: &Head) -> Freshened {
    let request = fields("");
    let asked = banyan_httpcache::Asked {
        method: &Method::GET,
        headers: &request,
    };
    let when = |time: Time| banyan_httpcache::Times {
        sent: time,
        received: time,
        ahead: Duration::ZERO,
    };
    let news = fields("ETag: \"a\"\nDate: Sat, 21 Nov 2026 12:00:30 GMT");
    let mut verdicts = freshen(asked, &[head], &news, &rfc(), when(at(30)));
    verdicts.remove(0)
}
