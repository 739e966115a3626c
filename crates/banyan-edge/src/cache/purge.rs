//! What people and other edges call stored responses, in the words of the table of purges.

use banyan_config::Cache as Settings;
use banyan_httpcache::purge::{Mode, Target};
use banyan_httpcache::{Key, Query};
use banyan_topology::purge::{self, Scope};

use super::rules::Rules;

/// By the rules in force.
pub(crate) struct Names(Option<Rules>);

impl Names {
    pub(crate) fn new(settings: Option<&Settings>) -> Self {
        Self(settings.map(Rules::compile))
    }

    /// A URL is purged as it was named and as rules name it: parameters that do not count are not part of what is stored.
    pub(crate) fn targets(&self, scope: &Scope) -> Vec<Target> {
        match scope {
            Scope::All => vec![Target::All],
            Scope::Tag(tag) => vec![Target::Tag(tag.clone())],
            Scope::Glob(glob) => vec![Target::Glob(glob.clone())],
            Scope::Prefix(prefix) => vec![Target::Prefix(key(prefix, &Query::All))],
            Scope::Url(url) => {
                let path = path(url);
                let rule = self.0.as_ref().and_then(|rules| rules.of(path));
                let mut keys = vec![key(url, &Query::All)];
                if let Some(rule) = rule {
                    let ruled = key(url, &rule.query);
                    if !keys.contains(&ruled) {
                        keys.push(ruled);
                    }
                }
                keys.into_iter().map(Target::Url).collect()
            }
        }
    }
}

pub(crate) fn mode(mode: purge::Mode) -> Mode {
    match mode {
        purge::Mode::Soft => Mode::Soft,
        purge::Mode::Hard => Mode::Hard,
    }
}

/// Scheme, host, path and query of `https://host/path?query`.
pub(super) fn parts(url: &str) -> (&str, &str, &str, Option<&str>) {
    let url = url.split('#').next().unwrap_or(url);
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    (scheme, &rest[..at], &rest[at..], query)
}

pub(super) fn path(url: &str) -> &str {
    parts(url).2
}

/// Under which name something of this URL would be stored.
pub(super) fn key(url: &str, query: &Query) -> String {
    let (scheme, host, path, sent) = parts(url);
    Key::new(scheme, host, path, sent, query, &[]).as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_become_those_of_the_store() {
        let names = Names::new(None);
        let of = |scope: Scope| match names.targets(&scope).remove(0) {
            Target::Url(name) | Target::Prefix(name) | Target::Glob(name) | Target::Tag(name) => name,
            Target::All => "all".to_owned(),
        };
        let url = |text: &str| of(Scope::Url(text.to_owned()));
        assert_eq!(
            url("HTTPS://Shop.example:443/A?b=C#d"),
            "https://shop.example/A?b=C"
        );
        assert_eq!(url("http://shop.example"), "http://shop.example/");
        assert_eq!(
            of(Scope::Prefix("https://Shop.example".to_owned())),
            "https://shop.example/"
        );
        assert_eq!(of(Scope::Tag("News".to_owned())), "News");
    }
}
