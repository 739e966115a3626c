//! `warm` of `[edge.cache]`: what every edge of this machine fetches after a deploy.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::read::{Reader, Spot};
use crate::report::Report;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// Whole URLs, or what stands behind `base`.
    #[serde(default)]
    pub urls: Vec<String>,
    /// As written, relative to banyan.toml; absolute once it is in a topology. Made by the app's build, so it may not be there yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sitemap: Option<PathBuf>,
    /// What a bundler wrote; a path as `sitemap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<PathBuf>,
    /// Where URLs without scheme and host are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Requests a second at most.
    pub rate: u32,
}

/// `None`: a deploy fetches nothing.
pub(super) fn build(cache: &Reader<'_>, report: &Report) -> Option<Warm> {
    let entry = cache.entry("warm")?;
    let table = cache.table("warm");
    let (urls, base) = (table.texts("urls"), table.text("base"));
    if let Some(base) = base.as_ref().filter(|base| !is_whole(&base.value)) {
        let message = format!("\"{}\" has no scheme and host", base.value);
        report.error(&base.place, message, &["write base = \"https://shop.example\""]);
    }
    if base.is_none() {
        urls.iter()
            .filter(|url| !is_whole(&url.value))
            .for_each(|url| needs_base(url, report));
    }
    if urls.is_empty() && !table.has("sitemap") && !table.has("manifest") {
        let help = "write urls = [\"https://shop.example/\"], or a `sitemap` or `manifest`";
        report.error(&entry.place, "`warm` names nothing to fetch", &[help]);
    }
    let path = |name| table.text(name).map(|path| path.value.into());
    Some(Warm {
        urls: urls.into_iter().map(|url| url.value).collect(),
        sitemap: path("sitemap"),
        manifest: path("manifest"),
        base: base.map(|base| base.value),
        rate: table.number("rate"),
    })
}

fn needs_base(url: &Spot<String>, report: &Report) {
    let message = format!("\"{}\" has no scheme and host", url.value);
    let help =
        "write the whole URL, as visitors ask for it, or base = \"https://shop.example\" beside `urls`";
    report.error(&url.place, message, &[help]);
}

fn is_whole(url: &str) -> bool {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}
