//! Filters: what is asked of a request before it goes anywhere, and what the answer says of it. Compiled once per snapshot
//! and core; a request without any pays one branch.
//!
//! Order: rules against attacks → limits by address, header and route → CORS pre-flights → authentication → limits by user and key.
//! Where edges count limits together they are asked about before the answer, whatever it is: a 401 counts, too.

pub(crate) mod auth;
pub(crate) mod buckets;
mod cors;
mod gcra;
mod rate;
pub(crate) mod together;
mod waf;

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;

use banyan_config::EdgeSettings;

use crate::compress::{self, Compress};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::headers::client_address;
use crate::respond::Refusal;
use crate::route::serving::Next;
use auth::{Guards, Identity, Judged, Opened, Wait, link};
use cors::Cors;
use rate::{Asker, Limits, Told, Turn};
use waf::Waf;
pub(crate) use waf::{COUNT as WAF_COUNT, Form, RULES as WAF_RULES};

/// Of a route, or of the requests that no route takes.
pub(crate) struct Filters {
    limits: Option<Limits>,
    guards: Option<Guards>,
    cors: Option<Cors>,
    compress: Option<Compress>,
    waf: Option<Waf>,
}

/// What filters know of a request until its answer is on its way.
pub(crate) struct Filtered {
    filters: Rc<Filters>,
    told: Told,
    identity: Option<Rc<Identity>>,
    /// Something must be waited for before it is known who asks.
    wait: Option<Wait>,
    /// The client is told how to show who it is.
    challenge: Option<Challenge>,
    /// Whose pages may read the answer.
    origin: Option<HeaderValue>,
    /// Which codings it may come in.
    codings: Option<compress::Asked>,
}

/// Whether the client has tried.
#[derive(Clone, Copy)]
struct Challenge {
    token_was_wrong: bool,
}

impl Filters {
    /// `None`: nothing is asked.
    pub(crate) fn compile(filters: &banyan_config::Filters, settings: &EdgeSettings) -> Option<Rc<Self>> {
        let banyan_config::Filters {
            rate_limits,
            auth,
            cors,
            compress,
            waf,
        } = filters;
        let compiled = Self {
            limits: Limits::new(rate_limits),
            guards: Guards::new(auth, settings),
            cors: cors.as_ref().and_then(Cors::new),
            compress: compress.as_ref().map(Compress::new),
            waf: waf.as_ref().map(Waf::new),
        };
        (!filters.is_empty()).then(|| Rc::new(compiled))
    }
}

/// Asks all filters about a request.
pub(crate) fn enter(
    exchange: &mut Exchange,
    filters: Option<Rc<Filters>>,
    head: &mut Parts,
) -> Result<Next, Refusal> {
    let Some(filters) = filters else {
        return Ok(Next::Forward);
    };
    let core = Rc::clone(&exchange.core);
    let judged = filters.waf.as_ref().map_or(Ok(()), |waf| waf.judge(&core, head));
    let address = exchange.peer.address;
    let takes_links = filters.guards.as_ref().is_some_and(Guards::take_links);
    let link = takes_links
        .then(|| link::Presented::take(&mut head.uri))
        .flatten();
    if link.is_some()
        && let Some(cached) = &mut exchange.cached
    {
        cached.is_for(&head.uri);
    }
    let codings = filters.compress.as_ref().map(|compress| compress.ask(head));
    let head = &*head;
    let filtered = exchange.filtered.insert(Box::new(Filtered {
        filters,
        codings,
        told: Told::default(),
        identity: None,
        wait: None,
        challenge: None,
        origin: None,
    }));
    judged?;
    if let Some(cors) = &filtered.filters.cors {
        filtered.origin = cors.admit(&head.headers);
    }
    if let Some(limits) = &filtered.filters.limits {
        let settings = core.settings();
        let asker = Asker {
            address: client_address(&head.headers, address, &settings.trusted_proxies),
            headers: &head.headers,
            identity: None,
        };
        if !limits.pass(Turn::BeforeIdentity, &asker, &core, &mut filtered.told) {
            return Err(Refusal::TooManyRequests);
        }
    }
    if let Some(cors) = &filtered.filters.cors
        && Cors::is_preflight(head)
    {
        // It comes without credentials.
        return match filtered.origin {
            Some(_) => Ok(Next::Answer(cors.preflight(head))),
            None => Err(Refusal::ForeignOrigin),
        };
    }
    if takes_links {
        let settings = core.settings();
        let client = client_address(&head.headers, address, &settings.trusted_proxies);
        if filtered.opens(&core, link.as_ref(), client)? {
            return Ok(Next::Forward);
        }
    }
    filtered.identify(&core, head)?;
    Ok(Next::Forward)
}

/// What looks at the request's body while it passes.
pub(crate) fn form(exchange: &Exchange, head: &Parts) -> Option<Box<Form>> {
    let waf = exchange.filtered.as_ref()?.filters.waf.as_ref()?;
    waf.form(&exchange.core, head)
}

/// Whether something must be waited for before the request may go on.
pub(crate) fn waits(exchange: &Exchange) -> bool {
    exchange
        .filtered
        .as_ref()
        .is_some_and(|filtered| filtered.wait.is_some() || filtered.told.asks())
}

/// Waits for it. `headers`: what an instance gets, if one does.
pub(crate) async fn settle(exchange: &mut Exchange, headers: Option<&mut HeaderMap>) -> Result<(), Refusal> {
    let core = Rc::clone(&exchange.core);
    let Some(filtered) = &mut exchange.filtered else {
        return Ok(());
    };
    let filters = Rc::clone(&filtered.filters);
    // Before a password is judged: guesses at all edges count together.
    filtered.agree(&core).await?;
    if let (Some(wait), Some(guards)) = (filtered.wait.take(), &filters.guards) {
        let token_was_wrong = wait.has_token();
        match auth::settle(&core, guards, wait).await {
            Ok(identity) => {
                if let Some(headers) = headers {
                    identity.tell(headers);
                }
                filtered.known(&core, identity)?;
                filtered.agree(&core).await?;
            }
            Err(refusal) => {
                filtered.challenge = Some(Challenge { token_was_wrong });
                return Err(refusal);
            }
        }
    }
    Ok(())
}

/// What an instance learns of who asks: from the edge and from nobody else.
pub(crate) fn introduce(exchange: &Exchange, headers: &mut HeaderMap) {
    if let Some(claims) = exchange.core.claims() {
        claims.strip(headers);
    }
    let Some(filtered) = &exchange.filtered else {
        return;
    };
    if let Some(guards) = &filtered.filters.guards {
        guards.strip(headers);
    }
    if let Some(identity) = &filtered.identity {
        identity.tell(headers);
    }
}

impl Filtered {
    /// Who is known to ask.
    pub(crate) fn who(&self) -> Option<&str> {
        let identity = self.identity.as_ref()?;
        identity.user.as_deref().or(identity.key.as_deref())
    }

    /// It is not `Authorization` that says who asks.
    pub(crate) fn is_known_otherwise(&self) -> bool {
        self.identity
            .as_ref()
            .is_some_and(|identity| identity.key.is_some())
    }

    /// By which rules the answer is compressed, and what the client said of it.
    pub(crate) fn compression(&self) -> Option<(&Compress, &compress::Asked)> {
        Some((self.filters.compress.as_ref()?, self.codings.as_ref()?))
    }

    /// What an instance says that is the edge's to say.
    pub(crate) fn overrule(&self, headers: &mut HeaderMap) {
        if self.filters.cors.is_some() {
            Cors::strip(headers);
        }
    }

    /// Whether a link opens the route. A link names nobody.
    fn opens(&self, core: &Core, link: Option<&link::Presented>, client: IpAddr) -> Result<bool, Refusal> {
        let filters = Rc::clone(&self.filters);
        let Some(guards) = &filters.guards else {
            return Ok(false);
        };
        match guards.follow(core, link, client) {
            Opened::Yes => Ok(true),
            Opened::No(_) if guards.has_other_ways() => Ok(false),
            Opened::No(refusal) => Err(refusal),
        }
    }

    fn identify(&mut self, core: &Core, head: &Parts) -> Result<(), Refusal> {
        let filters = Rc::clone(&self.filters);
        let Some(guards) = &filters.guards else {
            return Ok(());
        };
        match guards.judge(core, &head.headers, false) {
            Judged::Known(identity) => self.known(core, identity),
            Judged::Wait(wait) => {
                self.wait = Some(wait);
                Ok(())
            }
            Judged::Refused(refusal) => {
                self.challenge = Some(Challenge {
                    token_was_wrong: auth::has_token(&head.headers),
                });
                Err(refusal)
            }
        }
    }

    fn known(&mut self, core: &Core, identity: Rc<Identity>) -> Result<(), Refusal> {
        let asker = Asker {
            address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            headers: &HeaderMap::new(),
            identity: Some(&identity),
        };
        let limits = self.filters.limits.as_ref();
        let told = &mut self.told;
        let passes = limits.is_none_or(|limits| limits.pass(Turn::WithIdentity, &asker, core, told));
        self.identity = Some(identity);
        if passes {
            Ok(())
        } else {
            Err(Refusal::TooManyRequests)
        }
    }

    /// With the other edges, if limits are counted with them.
    async fn agree(&mut self, core: &Rc<Core>) -> Result<(), Refusal> {
        let filters = Rc::clone(&self.filters);
        match &filters.limits {
            Some(limits) if self.told.asks() && !limits.agree(core, &mut self.told).await => {
                Err(Refusal::TooManyRequests)
            }
            _ => Ok(()),
        }
    }

    /// Once, on whatever answer goes out.
    pub(crate) fn answer(&self, status: http::StatusCode, headers: &mut HeaderMap) {
        if let Some(cors) = &self.filters.cors {
            cors.answer(self.origin.as_ref(), headers);
        }
        if let Some(limits) = &self.filters.limits {
            limits.answer(&self.told, headers);
        }
        if let (Some(challenge), Some(guards), http::StatusCode::UNAUTHORIZED) =
            (self.challenge, &self.filters.guards, status)
        {
            headers.remove(header::WWW_AUTHENTICATE);
            guards.challenge(challenge.token_was_wrong, headers);
        }
    }
}
