//! The rules of the configuration, compiled for one core: which policy a request's path has.

use std::rc::Rc;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use banyan_config::{Cache, CacheClass, CacheProfile, CacheRule, PictureFormat, Pictures};
use banyan_httpcache::purge::matches;
use banyan_httpcache::{Policy, Precedence, Profile, Query, SetCookie};
use banyan_pictures::{Format, Settings};

use crate::route::path;

pub(crate) struct Rules {
    /// Some rule has pictures.
    pictures: bool,
    rules: Vec<(Pattern, Rc<Rule>)>,
    /// Of what no rule matches.
    default: Rc<Rule>,
}

pub(crate) struct Rule {
    /// Nothing is kept without.
    pub store: bool,
    /// Addresses change with the content.
    pub versioned: bool,
    pub query: Query,
    policy: Policy,
    pub pictures: Option<Settings>,
    /// Of pages, where the rule is about files: an address that looks like a file can be answered by one.
    of_pages: Option<Policy>,
}

enum Pattern {
    Exact(String),
    Prefix(String),
    Glob(String),
}

impl Rules {
    pub(crate) fn compile(cache: &Cache) -> Self {
        let profile = match cache.profile {
            CacheProfile::Safe => Profile::Safe,
            CacheProfile::Rfc => Profile::Rfc,
        };
        let plain = Policy {
            profile,
            ..Policy::default()
        };
        let pictures = cache.rules.iter().any(|rule| rule.image.is_some());
        let rules = cache
            .rules
            .iter()
            .map(|rule| (Pattern::new(&rule.path), Rc::new(Rule::compile(rule, &plain))));
        Self {
            pictures,
            rules: rules.collect(),
            default: Rc::new(Rule {
                store: true,
                versioned: false,
                query: Query::All,
                policy: plain,
                of_pages: None,
                pictures: None,
            }),
        }
    }

    pub(crate) fn have_pictures(&self) -> bool {
        self.pictures
    }

    /// Which rule counts for this path, as they were written.
    pub(super) fn position(&self, raw: &str) -> Option<usize> {
        let path = path::decode(raw)?;
        self.rules.iter().position(|(pattern, _)| pattern.matches(&path))
    }

    /// `None`: the path can be read in two ways, so nobody can tell which rule, or later which purge, is meant.
    pub(crate) fn of(&self, raw: &str) -> Option<&Rc<Rule>> {
        let path = path::decode(raw)?;
        let found = self.rules.iter().find(|(pattern, _)| pattern.matches(&path));
        Some(found.map_or(&self.default, |(_, rule)| rule))
    }
}

impl Rule {
    fn compile(rule: &CacheRule, plain: &Policy) -> Self {
        let pages = rule
            .class
            .is_some_and(|class| matches!(class, CacheClass::Image | CacheClass::Versioned));
        Self {
            store: rule.store,
            versioned: rule.class == Some(CacheClass::Versioned),
            query: match &rule.query {
                None => Query::All,
                Some(names) if names.is_empty() => Query::None,
                Some(names) => Query::Only(names.clone()),
            },
            pictures: rule.image.as_ref().map(settings),
            of_pages: pages.then(|| plain.clone()),
            policy: Policy {
                ttl: rule.lifetime(),
                precedence: if rule.overrides {
                    Precedence::Rule
                } else {
                    Precedence::Origin
                },
                browser_ttl: rule.browser_lifetime(),
                immutable: rule.class == Some(CacheClass::Versioned),
                stale_while_revalidate: rule.stale_while_revalidate,
                stale_if_error: rule.stale_if_error,
                negative_ttl: rule.negative_ttl,
                set_cookie: if rule.strip_cookies {
                    SetCookie::Strip
                } else {
                    SetCookie::ByProfile
                },
                tags: rule.tags.clone(),
                ..plain.clone()
            },
        }
    }

    /// For requests, before there is an answer.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Of what is stored, once `news` has changed its fields.
    pub(crate) fn policy_after(&self, stored: &HeaderMap, news: &HeaderMap) -> &Policy {
        let told = news.contains_key(CONTENT_TYPE);
        self.policy_for(if told { news } else { stored })
    }

    pub(crate) fn policy_for(&self, answer: &HeaderMap) -> &Policy {
        let kind = answer.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let is_page =
            kind.is_some_and(|kind| kind.len() >= 9 && kind[..9].eq_ignore_ascii_case(b"text/html"));
        self.of_pages.as_ref().filter(|_| is_page).unwrap_or(&self.policy)
    }
}

fn settings(pictures: &Pictures) -> Settings {
    let format = |format: &PictureFormat| match format {
        PictureFormat::Avif => Format::Avif,
        PictureFormat::Webp => Format::Webp,
        PictureFormat::Jpeg => Format::Jpeg,
    };
    Settings {
        widths: pictures.widths.clone(),
        quality: pictures.quality,
        formats: pictures.formats.iter().map(format).collect(),
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text.strip_suffix('*') {
            None if !text.contains('*') => Self::Exact(text.to_owned()),
            Some(start) if !start.contains('*') => Self::Prefix(start.to_owned()),
            _ => Self::Glob(text.to_owned()),
        }
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(start) => path.starts_with(start.as_str()),
            Self::Glob(pattern) => matches(pattern, path),
        }
    }
}
