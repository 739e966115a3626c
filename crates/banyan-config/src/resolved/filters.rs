//! Filters as they are in force, as they would be written.

use super::routes::map;
use super::{Writer, quoted};
use crate::auth::{Auth, AuthBy, Jwt, JwtKeys};
use crate::filter::{Compress, Cors, Filters, RateBy, RateLimit, Waf};
use crate::units::{format_bytes, format_duration};

/// `inherited` is what is in force without a line.
pub(super) fn keys(out: &mut Writer, filters: &Filters, inherited: &Filters) {
    if filters.rate_limits != inherited.rate_limits {
        match filters.rate_limits.as_slice() {
            [] => out.text("rate_limit", "off"),
            limits => out.list("rate_limit", limits.iter().map(rate_limit)),
        }
    }
    if filters.auth != inherited.auth {
        out.list("auth", filters.auth.iter().map(|name| quoted(name)));
    }
    if filters.cors != inherited.cors {
        match &filters.cors {
            None => out.text("cors", "off"),
            Some(cors) => out.line("cors", self::cors(cors)),
        }
    }
    if filters.compress != inherited.compress {
        match &filters.compress {
            None => out.text("compress", "off"),
            Some(compress) => out.line("compress", self::compress(compress)),
        }
    }
    if filters.waf != inherited.waf {
        match &filters.waf {
            None => out.text("waf", "off"),
            Some(Waf { mode, except }) => {
                let (mode, except) = (mode.name(), listed(except));
                out.line("waf", format!("{{ mode = \"{mode}\", except = [{except}] }}"));
            }
        }
    }
}

pub(super) fn auth(out: &mut Writer, name: &str, auth: &Auth) {
    out.table(&format!("auth.{name}"));
    match &auth.by {
        AuthBy::Jwt(jwt) => self::jwt(out, jwt),
        AuthBy::Keys { file, header } => {
            out.text("keys", &file.to_string_lossy());
            out.text("header", header);
        }
        AuthBy::Users { file } => out.text("users", &file.to_string_lossy()),
        AuthBy::Links { .. } => {}
    }
    if let AuthBy::Links { file } = &auth.by {
        return out.text("signed", &file.to_string_lossy());
    }
    out.text("user_header", &auth.user_header);
    out.line("forward", auth.forward);
}

fn jwt(out: &mut Writer, jwt: &Jwt) {
    match &jwt.keys {
        JwtKeys::File(path) => out.text("jwks", &path.to_string_lossy()),
        JwtKeys::Url { url, refresh, ca } => {
            out.text("jwks", url);
            out.text("refresh", &format_duration(*refresh));
            if let Some(ca) = ca {
                out.text("ca", &ca.to_string_lossy());
            }
        }
    }
    out.list("algorithms", jwt.algorithms.iter().map(|name| quoted(name)));
    if let Some(issuer) = &jwt.issuer {
        out.text("issuer", issuer);
    }
    out.list("audience", jwt.audience.iter().map(|one| quoted(one)));
    out.text("leeway", &format_duration(jwt.leeway));
    out.text("user", &jwt.user);
    for (key, pairs) in [("require", &jwt.require), ("claims", &jwt.claims)] {
        if !pairs.is_empty() {
            out.line(key, map(pairs, |value| quoted(value)));
        }
    }
}

fn cors(cors: &Cors) -> String {
    format!(
        "{{ origins = [{}], methods = [{}], headers = [{}], expose = [{}], credentials = {}, max_age = \"{}\" }}",
        listed(&cors.origins),
        listed(&cors.methods),
        listed(&cors.headers),
        listed(&cors.expose),
        cors.credentials,
        format_duration(cors.max_age)
    )
}

fn compress(compress: &Compress) -> String {
    let codings: Vec<String> = compress.codings.iter().map(|c| c.name().to_owned()).collect();
    format!(
        "{{ codings = [{}], types = [{}], min = \"{}\", max = \"{}\", private = {} }}",
        listed(&codings),
        listed(&compress.types),
        format_bytes(compress.min),
        format_bytes(compress.max),
        compress.private
    )
}

fn listed(texts: &[String]) -> String {
    texts
        .iter()
        .map(|text| quoted(text))
        .collect::<Vec<_>>()
        .join(", ")
}

fn rate_limit(limit: &RateLimit) -> String {
    let (by, header) = match &limit.by {
        RateBy::Ip => ("ip", None),
        RateBy::User => ("user", None),
        RateBy::Key => ("key", None),
        RateBy::Route => ("route", None),
        RateBy::Header(name) => ("header", Some(name)),
    };
    let header = header
        .map(|name| format!(", header = {}", quoted(name)))
        .unwrap_or_default();
    format!(
        "{{ rate = \"{}\", burst = {}, by = \"{by}\"{header} }}",
        limit.rate(),
        limit.burst
    )
}
