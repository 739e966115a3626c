//! What is asked of requests before they go anywhere, over real sockets.

mod auth;
mod auth_keys;
mod auth_tokens;
mod compress;
mod cors;
mod links;
mod rate_limit;
mod together;
mod waf;

use banyan_config::{
    Filters, Forward, HeaderEdit, PathMatch, Route, RouteAction, RouteBounds, RouteMatch, Share, SplitBy,
};

/// `/path…` to the edge's process, with these filters.
fn route(name: &str, filters: Filters) -> Route {
    Route {
        name: name.to_owned(),
        when: RouteMatch {
            path: PathMatch::Prefix(format!("/{name}")),
            ..RouteMatch::default()
        },
        bounds: RouteBounds {
            filters,
            ..RouteBounds::default()
        },
        action: RouteAction::Process(Forward {
            shares: vec![Share {
                process: "web".parse().unwrap(),
                weight: 1,
            }],
            sticky: SplitBy::None,
            rewrite: None,
            mirror: None,
            backup: None,
        }),
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
    }
}

/// A GET with these header lines, each with its line end.
fn asking(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{more}\r\n")
}
