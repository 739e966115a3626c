//! `[edge.cache]` as it is in force.

use super::{Writer, quoted};
use crate::cache::{Cache, CacheRule, Warm};
use crate::picture::Pictures;
use crate::units::{format_bytes, format_duration};

pub(super) fn table(out: &mut Writer, cache: &Cache) {
    out.table("edge.cache");
    out.text("memory", &format_bytes(cache.memory));
    if let Some(disk) = cache.disk {
        out.text("disk", &format_bytes(disk));
    }
    out.text("profile", cache.profile.name());
    out.text("policy", cache.policy.name());
    if let Some(shield) = &cache.shield {
        out.text("shield", shield.as_str());
    }
    out.list("rules", cache.rules.iter().map(rule));
    if let Some(purge) = &cache.purge {
        out.table("edge.cache.purge");
        out.text("listen", &purge.listen.to_string());
        if let Some(path) = &purge.token_file {
            out.text("token_file", &path.to_string_lossy());
        }
    }
    if let Some(warm) = &cache.warm {
        warmed(out, warm);
    }
}

fn warmed(out: &mut Writer, warm: &Warm) {
    out.table("edge.cache.warm");
    out.list("urls", warm.urls.iter().map(|url| quoted(url)));
    for (key, path) in [("sitemap", &warm.sitemap), ("manifest", &warm.manifest)] {
        if let Some(path) = path {
            out.text(key, &path.to_string_lossy());
        }
    }
    if let Some(base) = &warm.base {
        out.text("base", base);
    }
    out.line("rate", warm.rate);
}

fn rule(rule: &CacheRule) -> String {
    let listed = |texts: &[String]| {
        let quoted: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
        quoted.join(", ")
    };
    let mut keys = vec![format!("path = {}", quoted(&rule.path))];
    if !rule.store {
        keys.push("store = false".to_owned());
        return format!("{{ {} }}", keys.join(", "));
    }
    if let Some(class) = rule.class {
        keys.push(format!("class = {}", quoted(class.name())));
    }
    let times = [
        ("ttl", rule.ttl),
        ("browser_ttl", rule.browser_ttl),
        ("stale_while_revalidate", rule.stale_while_revalidate),
        ("stale_if_error", Some(rule.stale_if_error)),
        ("negative_ttl", Some(rule.negative_ttl)),
    ];
    for (key, time) in times {
        keys.extend(time.map(|time| format!("{key} = \"{}\"", format_duration(time))));
    }
    for (key, on) in [
        ("override", rule.overrides),
        ("strip_cookies", rule.strip_cookies),
    ] {
        keys.extend(on.then(|| format!("{key} = true")));
    }
    keys.extend(
        rule.query
            .as_ref()
            .map(|names| format!("query = [{}]", listed(names))),
    );
    if !rule.tags.is_empty() {
        keys.push(format!("tags = [{}]", listed(&rule.tags)));
    }
    if let Some(Pictures {
        widths,
        quality,
        formats,
    }) = &rule.image
    {
        let widths: Vec<_> = widths.iter().map(ToString::to_string).collect();
        let formats: Vec<_> = formats.iter().map(|format| format.name().to_owned()).collect();
        let (widths, formats) = (widths.join(", "), listed(&formats));
        keys.push(format!(
            "image = {{ widths = [{widths}], quality = {quality}, formats = [{formats}] }}"
        ));
    }
    format!("{{ {} }}", keys.join(", "))
}
