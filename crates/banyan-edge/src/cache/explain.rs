//! What would become of one request, without asking the app: for people.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use banyan_config::Cache as Settings;
use banyan_httpcache::freshness::Source;
use banyan_httpcache::{Extent, Head, Lookup, Staleness, Standing, Time, lookup};
use banyan_topology::sight::{Explained, Kept, Missed, Worst};

use super::object::Object;
use super::purge::{key, path};
use super::rules::{Rule, Rules};
use super::store::Found;
use super::tops::Top;
use super::{Shared, presented};

/// `Err`: why the question cannot be answered.
pub(crate) fn explain(
    settings: &Settings,
    shared: &Shared,
    url: &str,
    headers: &[(String, String)],
    now: Time,
) -> Result<Explained, String> {
    let rules = Rules::compile(settings);
    let headers = parsed(headers)?;
    let Some(rule) = rules.of(path(url)) else {
        return Err("the path can be read in two ways, so nothing under it is kept".to_owned());
    };
    let key = key(url, &rule.query);
    let named = rules.position(path(url)).and_then(|at| settings.rules.get(at));
    let mut told = Explained {
        rule: named.map(ToString::to_string),
        missed: shared.tops.of(&key).iter().map(missed).collect(),
        ..Explained::default()
    };
    let all = shared.store.find_all(&key);
    told.stored = all
        .objects
        .iter()
        .map(|(object, standing)| kept(object, *standing, now))
        .collect();
    told.verdict = verdict(rule, &all, &headers, now);
    let newest = all.objects.iter().max_by_key(|(object, _)| object.head.date);
    if let Some((object, _)) = newest {
        told.worst = Some(worst(&object.head, rule));
        told.notes = notes(&object.head, rule);
    } else if told.missed.is_empty() && rule.store {
        told.notes
            .push("nobody has asked for it lately: ask once, then look again".to_owned());
    }
    told.key = key;
    Ok(told)
}

fn parsed(headers: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let pair = name
            .parse::<HeaderName>()
            .ok()
            .zip(HeaderValue::from_str(value).ok());
        let (name, value) = pair.ok_or_else(|| format!("`{name}: {value}` is no header"))?;
        map.append(name, value);
    }
    Ok(map)
}

fn verdict(rule: &Rule, found: &Found, headers: &HeaderMap, now: Time) -> String {
    if !rule.store {
        return "asked of the app: the rule says store = false".to_owned();
    }
    let stored: Vec<_> = found
        .objects
        .iter()
        .map(|(one, standing)| one.stored(*standing))
        .collect();
    match lookup(presented(&Method::GET, headers), &stored, rule.policy(), now) {
        Lookup::Hit { .. } => "a hit".to_owned(),
        Lookup::Stale { .. } => "a hit past its time, renewed behind the client's back".to_owned(),
        Lookup::Validate { why, .. } => format!("validated with the app: {why}"),
        Lookup::Fill { .. } => "put together with what is missing from the app".to_owned(),
        Lookup::Miss(why) => format!("asked of the app: {why}"),
        Lookup::Bypass(why) => format!("passed to the app: {why}"),
        Lookup::GatewayTimeout => "504: the client wants nothing but what is stored".to_owned(),
    }
}

fn kept(object: &Object, standing: Standing, now: Time) -> Kept {
    let head = &object.head;
    Kept {
        route: object.side.lines().next().unwrap_or_default().to_owned(),
        status: head.status.as_u16(),
        varies: head.selection.words(),
        bytes: object.body.length(),
        whole: (head.extent != Extent::Whole).then(|| object.total()),
        age_s: head.age_at(now).as_secs(),
        ttl_s: head.ttl_at(now),
        source: source(head.source).to_owned(),
        purged: match standing {
            Standing::Sound => None,
            Standing::SoftlyPurged(_) => Some("soft".to_owned()),
            Standing::Purged => Some("hard".to_owned()),
        },
        can_be_validated: head.has_validator(),
        tags: head.tags.clone(),
    }
}

fn source(source: Source) -> &'static str {
    match source {
        Source::Targeted => "CDN-Cache-Control or Surrogate-Control",
        Source::SharedMaxAge => "s-maxage",
        Source::MaxAge => "max-age",
        Source::Expires => "Expires",
        Source::Rule => "a rule",
        Source::Heuristic => "guessed from Last-Modified",
        Source::Negative => "negative_ttl",
        Source::None => "nothing says",
    }
}

pub(crate) fn missed(top: &Top) -> Missed {
    Missed {
        url: top.uri.to_string(),
        route: top.route.to_string(),
        why: top.why.name().to_owned(),
        count: top.count,
        over: top.over,
        remedy: top.why.remedy().map(str::to_owned),
    }
}

/// A browser that got it at the end of what is allowed here keeps it for its own time on top of that, if it is told one of
/// its own; by the app's max-age and a true Age the two share one time.
fn worst(head: &Head, rule: &Rule) -> Worst {
    let (swr, if_error) = match head.staleness {
        Staleness::Forbidden => (Duration::ZERO, Duration::ZERO),
        Staleness::Allowed {
            while_revalidate,
            if_error,
        } => (while_revalidate, if_error),
    };
    let edge = if head.always_validate {
        Duration::ZERO
    } else {
        head.lifetime + swr
    };
    let policy = rule.policy_for(&head.headers);
    let browser = policy.browser_ttl.unwrap_or_else(|| {
        let told = head.directives().max_age.unwrap_or_default();
        told.saturating_sub(edge)
    });
    Worst {
        edge_s: edge.as_secs(),
        browser_s: browser.as_secs(),
        sum_s: (edge + browser).as_secs(),
        if_error_s: if_error.as_secs(),
    }
}

fn notes(head: &Head, rule: &Rule) -> Vec<String> {
    let mut notes = Vec::new();
    let said = head.directives();
    if said.s_maxage.is_some()
        && head.staleness == Staleness::Forbidden
        && said.stale_while_revalidate.is_some()
    {
        notes.push(
            "s-maxage forbids stale answers, so stale-while-revalidate beside it has no effect (RFC 9111 §5.2.2.10)"
                .to_owned(),
        );
    }
    if head.always_validate {
        notes.push("no-cache: the app is asked for each use whether it is still good".to_owned());
    }
    if rule.policy_for(&head.headers) != rule.policy() {
        notes.push("it is HTML, so the times of the rule's class do not count".to_owned());
    }
    notes
}
