//! Where nothing reads or changes the head of an instance's answer, it passes as lines, and no map is made of it
//! ([`crate::forward::http1::Lines`]): of what an edge does with most answers, that map was the dearest part.
//!
//! Every setting is named here, also those that have nothing to do with heads: whoever adds one must decide. Fields that
//! the edge only adds to an answer (its request id, a cookie) do not count; filters do, all of them.

use banyan_config::{EdgeLimits, EdgeSettings, Filters, Forward, Route, RouteAction, RouteBounds};

/// For the requests of no route, and as far as all routes are concerned.
pub(crate) fn passes_heads(settings: &EdgeSettings) -> bool {
    let EdgeSettings {
        // Of requests that no route takes: an exchange that has met filters knows.
        filters: _,
        count_limits: _,
        limits,
        cache,
        balance: _,
        weights: _,
        hash_by: _,
        slow_start: _,
        // Its cookie is added.
        sticky: _,
        health: _,
        queue: _,
        trusted_proxies: _,
        proxy_protocol: _,
        timeouts: _,
        deadline_header: _,
        access_log: _,
        log: _,
        trace: _,
        trace_sampled: _,
        workers: _,
        auth: _,
        origins: _,
        // `Strict-Transport-Security` is added; an instance's own line is not taken for a plain one.
        tls: _,
        metrics: _,
        zone: _,
    } = settings;
    let EdgeLimits { response_header, .. } = limits;
    response_header.is_none() && cache.is_none()
}

/// For the requests of a route.
pub(crate) fn route_passes_heads(route: &Route) -> bool {
    let Route {
        name: _,
        when: _,
        bounds,
        action,
        request_headers: _,
        response_headers,
    } = route;
    if let RouteAction::Process(forward) = action {
        let Forward {
            shares: _,
            sticky: _,
            rewrite: _,
            // A copy is of the request.
            mirror: _,
            backup: _,
        } = forward;
    }
    let RouteBounds {
        allow: _,
        deny: _,
        body: _,
        timeout: _,
        response_header,
        response_body: _,
        filters,
    } = bounds;
    response_header.is_none()
        && *filters == Filters::default()
        && response_headers.set.is_empty()
        && response_headers.remove.is_empty()
}

/// Whether a route leaves heads of requests alone and sends them to nobody else: only then is what the edge adds kept out of their maps.
pub(crate) fn route_passes_requests(route: &Route) -> bool {
    let others = match &route.action {
        RouteAction::Process(forward) => forward.mirror.is_some() || forward.backup.is_some(),
        // It hears its own name in place of the client's `Host`.
        RouteAction::Origin(_) => true,
        _ => false,
    };
    let edits = &route.request_headers;
    !others && edits.set.is_empty() && edits.remove.is_empty()
}
