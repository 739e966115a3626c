//! `banyan cdn sign`: a link for a route with `auth` by signed links.

use std::path::Path;

use anyhow::{Context as _, bail};
use banyan_config::{AuthBy, EdgeTable};
use banyan_edge::route::{Asked, Table};
use banyan_edge::{LinkKeys, SignError, Terms};
use banyan_runtime::Clock;
use http::{HeaderMap, Uri};
use serde_json::json;

use crate::cli::cdn::Sign;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::error::advised;

pub(crate) fn run(args: &Sign, context: &Context) -> anyhow::Result<Exit> {
    let config = loading::load(&context.place)?.config;
    let uri: Uri = args
        .url
        .parse()
        .with_context(|| format!("`{}` is not a URL", args.url))?;
    let Some(edge) = &config.edge else {
        bail!("there is no edge: nobody would ask for a signature");
    };
    let (name, file) = key_file(edge, &uri, args.auth.as_deref())?;
    let path = loading::folder(context.place.config()).join(file);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let expires = Clock.unix_ms() / 1000 + args.expires.as_secs();
    let terms = Terms {
        below: args.prefix,
        expires,
        client: args.client,
    };
    let signed = LinkKeys::read(&text).sign(&uri, args.key.as_deref(), &terms);
    let signed = signed.map_err(|error| {
        let next = match error {
            SignError::NoKey => format!("each line of {} is NAME:SECRET", path.display()),
            SignError::NoFolder => format!("{}/", args.url.trim_end_matches('/')),
            SignError::Ambiguous | SignError::SignedAlready | SignError::TooLong => {
                "give the plain address".to_owned()
            }
        };
        advised(anyhow::Error::new(error), next)
    })?;
    let url = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(host)) => format!("{scheme}://{host}{signed}"),
        _ => signed,
    };
    if context.json {
        context.print_json(&json!({ "url": url, "expires": expires, "auth": name }))?;
    } else {
        context.print(&format!("{url}\n"))?;
    }
    Ok(Exit::Done)
}

/// Of the route that the address takes, or the only one.
fn key_file<'a>(edge: &'a EdgeTable, uri: &Uri, wanted: Option<&str>) -> anyhow::Result<(&'a str, &'a Path)> {
    let links = edge
        .settings
        .auth
        .iter()
        .filter_map(|(name, auth)| match &auth.by {
            AuthBy::Links { file } => Some((name.as_str(), file.as_path())),
            AuthBy::Jwt(_) | AuthBy::Keys { .. } | AuthBy::Users { .. } => None,
        });
    let links: Vec<_> = links.collect();
    if let Some(wanted) = wanted {
        let found = links.iter().find(|(name, _)| *name == wanted);
        return found
            .copied()
            .with_context(|| format!("there is no [auth.{wanted}] with `signed`"));
    }
    let asked = names(edge, uri)?;
    let of_route = links.iter().find(|(name, _)| asked.iter().any(|one| one == name));
    match (of_route, links.as_slice()) {
        (Some(found), _) => Ok(*found),
        (None, [only]) => Ok(*only),
        (None, []) => Err(advised(
            anyhow::anyhow!("no route opens by signed links"),
            "write [auth.links] with signed = \"links.keys\", and auth = [\"links\"] in the route",
        )),
        (None, _) => Err(advised(
            anyhow::anyhow!("the route of this address opens by no signed link, and there are several keys"),
            "say whose: --auth NAME",
        )),
    }
}

/// What the route of this address asks for.
fn names(edge: &EdgeTable, uri: &Uri) -> anyhow::Result<Vec<String>> {
    let table = Table::compile(&edge.routes).map_err(anyhow::Error::msg)?;
    let explained = table.explain(&Asked {
        method: "GET",
        host: uri.host().unwrap_or_default(),
        path: uri.path(),
        query: uri.query(),
        headers: &HeaderMap::new(),
    });
    let winner = edge
        .routes
        .iter()
        .find(|route| explained.route.as_ref() == Some(&route.name));
    let filters = winner.map_or(&edge.settings.filters, |route| &route.bounds.filters);
    Ok(filters.auth.clone())
}
