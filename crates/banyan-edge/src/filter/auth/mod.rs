//! Authentication: who a client is, by what its route asks for.
//!
//! One of the named ways must be satisfied. Everything that can be judged at once is judged on the core, from what the
//! control task has read (`Material`) and what was verified lately (`cache`). Two things are waited for, outside
//! the core's thread and with a limit: a password's hash (`passwords`), and keys that are not there yet. Credentials and
//! claims about identity that clients send never reach instances, unless `forward` says so.

pub(crate) mod api_key;
pub(crate) mod basic;
mod cache;
mod claims;
pub(crate) mod link;
pub(crate) mod passwords;
pub(crate) mod token;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use banyan_config::{AuthBy, EdgeSettings};

use crate::core::Core;
use crate::core::command::Event;
use crate::respond::{LinkFault, Refusal};
use cache::Cache;
use claims::Fault;
use passwords::Job;

/// For keys or a password's hash.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the control task has read of one `[auth.NAME]`.
#[derive(Clone)]
pub(crate) enum Material {
    Keys(Arc<api_key::Keys>),
    Users(Arc<basic::Users>),
    Links(Arc<link::LinkKeys>),
    /// `None`: they could not be fetched yet.
    Tokens(Option<Arc<token::KeySet>>),
}

pub(crate) type Materials = HashMap<String, Material>;

/// Who a client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub user: Option<String>,
    /// Name of its API key.
    pub key: Option<String>,
    /// For instances.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The ways of a route.
pub(super) struct Guards {
    ways: Vec<Guard>,
    /// Names of those whose links open.
    links: Vec<String>,
}

struct Guard {
    name: String,
    by: By,
    user_header: HeaderName,
    forward: bool,
    challenge: HeaderValue,
    /// To who has shown a token that is not good (RFC 6750 §3.1).
    wrong_token: Option<HeaderValue>,
}

enum By {
    Token(claims::Rules),
    Key(HeaderName),
    Password,
}

/// What comes of the credentials of a request.
pub(super) enum Judged {
    Known(Rc<Identity>),
    Refused(Refusal),
    Wait(Wait),
}

pub(super) enum Opened {
    Yes,
    No(Refusal),
}

/// What must be known before a request can be judged.
pub(super) struct Wait {
    /// What the client showed: it is out of the request by then.
    shown: HeaderMap,
    what: What,
}

enum What {
    /// Newer keys of this `[auth.NAME]` than these.
    Keys(String, Option<Arc<token::KeySet>>),
    Password(basic::Asked),
}

enum Way {
    /// The client does not try this one.
    Absent,
    Known(Rc<Identity>),
    Wrong,
    /// It is who it says, and may not.
    Forbidden,
    Wait(What),
}

/// What a core remembers between requests.
pub(crate) struct Memory {
    materials: Materials,
    tokens: Cache<Rc<token::Verified>>,
    passwords: Cache<bool>,
    /// Keys that the control task was asked for.
    wanted: BTreeSet<String>,
}

/// Headers by which nobody but the edge may say who a client is.
pub(crate) struct Claims(Vec<HeaderName>);

impl Default for Memory {
    fn default() -> Self {
        Self {
            materials: Materials::new(),
            tokens: Cache::new(),
            passwords: Cache::new(),
            wanted: BTreeSet::new(),
        }
    }
}

impl Memory {
    /// The control task has looked, and perhaps found nothing.
    pub(crate) fn looked(&mut self) {
        self.wanted.clear();
    }

    pub(crate) fn take(&mut self, materials: Materials) {
        self.materials = materials;
        // Keys that are gone must not go on opening.
        self.tokens = Cache::new();
    }
}

impl Claims {
    /// `None`: nobody is asked who they are.
    pub(crate) fn of(settings: &EdgeSettings) -> Option<Rc<Self>> {
        let names = settings.auth.values().flat_map(|auth| {
            let claims = match &auth.by {
                AuthBy::Jwt(jwt) => jwt.claims.keys().cloned().collect(),
                AuthBy::Keys { .. } | AuthBy::Users { .. } | AuthBy::Links { .. } => Vec::new(),
            };
            claims.into_iter().chain([auth.user_header.clone()])
        });
        let mut names: Vec<HeaderName> = names.filter_map(|name| name.parse().ok()).collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        (!names.is_empty()).then(|| Rc::new(Self(names)))
    }

    /// Takes out what a client says. `x_auth_user` counts as `x-auth-user`: to many apps they are the same variable.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        for name in &self.0 {
            headers.remove(name);
        }
        if !headers.keys().any(|name| name.as_str().contains('_')) {
            return;
        }
        let same = |name: &HeaderName| {
            let plain = name.as_str().replace('_', "-");
            self.0.iter().any(|own| own.as_str().replace('_', "-") == plain)
        };
        let alike: Vec<HeaderName> = headers.keys().filter(|name| same(name)).cloned().collect();
        for name in alike {
            headers.remove(name);
        }
    }
}

impl Guards {
    pub(super) fn new(names: &[String], settings: &EdgeSettings) -> Option<Self> {
        let guard = |name: &String| {
            let auth = settings.auth.get(name)?;
            let (by, challenge) = match &auth.by {
                AuthBy::Jwt(jwt) => (
                    By::Token(claims::Rules::new(jwt)),
                    format!("Bearer realm=\"{name}\""),
                ),
                AuthBy::Keys { header, .. } => (
                    By::Key(header.parse().ok()?),
                    format!("ApiKey realm=\"{name}\", header=\"{header}\""),
                ),
                AuthBy::Users { .. } => (By::Password, format!("Basic realm=\"{name}\", charset=\"UTF-8\"")),
                // Their own list.
                AuthBy::Links { .. } => return None,
            };
            Some(Guard {
                name: name.clone(),
                by,
                user_header: auth.user_header.parse().ok()?,
                forward: auth.forward,
                wrong_token: matches!(auth.by, AuthBy::Jwt(_))
                    .then(|| HeaderValue::from_str(&format!("{challenge}, error=\"invalid_token\"")).ok())
                    .flatten(),
                challenge: HeaderValue::from_str(&challenge).ok()?,
            })
        };
        // One that is not known lets nobody in; the control task refuses such a snapshot.
        let is_link = |name: &&String| {
            matches!(
                settings.auth.get(*name).map(|auth| &auth.by),
                Some(AuthBy::Links { .. })
            )
        };
        (!names.is_empty()).then(|| Self {
            ways: names.iter().filter_map(guard).collect(),
            links: names.iter().filter(is_link).cloned().collect(),
        })
    }

    pub(super) fn take_links(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether the link opens. Where clients can show who they are in other ways, too, they may still try those.
    pub(super) fn follow(&self, core: &Core, shown: Option<&link::Presented>, client: IpAddr) -> Opened {
        let Some(shown) = shown else {
            return Opened::No(Refusal::BadLink(LinkFault::Missing));
        };
        let now = core.clock.unix_ms() / 1000;
        let memory = core.memory.borrow();
        let mut refusal = Refusal::CannotTell;
        for name in &self.links {
            // Not read yet, or of another kind than a moment ago.
            let Some(Material::Links(keys)) = memory.materials.get(name) else {
                continue;
            };
            match keys.judge(shown, client, now) {
                Ok(()) => return Opened::Yes,
                Err(fault) => refusal = Refusal::BadLink(fault),
            }
        }
        Opened::No(refusal)
    }

    pub(super) fn has_other_ways(&self) -> bool {
        !self.ways.is_empty()
    }

    /// `again`: what was waited for is there or will not come.
    pub(super) fn judge(&self, core: &Core, headers: &HeaderMap, again: bool) -> Judged {
        let (mut waits, mut forbidden) = (None, false);
        for guard in &self.ways {
            match guard.judge(core, headers, again) {
                Way::Absent | Way::Wrong => {}
                Way::Known(identity) => return Judged::Known(identity),
                Way::Forbidden => forbidden = true,
                Way::Wait(what) => waits = waits.or(Some(what)),
            }
        }
        match waits {
            _ if forbidden => Judged::Refused(Refusal::NotAllowed),
            None => Judged::Refused(Refusal::Unauthorized),
            Some(_) if again => Judged::Refused(Refusal::CannotTell),
            Some(what) => Judged::Wait(Wait {
                shown: self.shown(headers),
                what,
            }),
        }
    }

    fn shown(&self, headers: &HeaderMap) -> HeaderMap {
        let own = self.ways.iter().filter_map(|guard| guard.own_header());
        let mut shown = HeaderMap::new();
        for name in own.chain([&header::AUTHORIZATION]) {
            for value in headers.get_all(name) {
                shown.append(name, value.clone());
            }
        }
        shown
    }

    /// Takes out what instances shall not get.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for guard in self.ways.iter().filter(|guard| !guard.forward) {
            match guard.own_header() {
                Some(name) => drop(headers.remove(name)),
                None => {
                    let scheme = match guard.by {
                        By::Token(_) => "bearer",
                        By::Key(_) | By::Password => "basic",
                    };
                    let ours = |value: &HeaderValue| credentials(value, scheme).is_some();
                    if headers.get(header::AUTHORIZATION).is_some_and(ours) {
                        headers.remove(header::AUTHORIZATION);
                    }
                }
            }
        }
    }

    /// RFC 9110 §11.6.1: how one may show who one is.
    pub(super) fn challenge(&self, token_was_wrong: bool, headers: &mut HeaderMap) {
        for guard in &self.ways {
            let wrong = guard.wrong_token.as_ref().filter(|_| token_was_wrong);
            headers.append(
                header::WWW_AUTHENTICATE,
                wrong.unwrap_or(&guard.challenge).clone(),
            );
        }
    }
}

impl Guard {
    /// Of its own, that credentials come in.
    fn own_header(&self) -> Option<&HeaderName> {
        match &self.by {
            By::Key(name) => Some(name),
            By::Token(_) | By::Password => None,
        }
    }

    fn judge(&self, core: &Core, headers: &HeaderMap, again: bool) -> Way {
        let mut memory = core.memory.borrow_mut();
        match (&self.by, memory.materials.get(&self.name).cloned()) {
            (By::Key(name), Some(Material::Keys(keys))) => {
                let mut shown = headers.get_all(name).iter();
                let Some(key) = shown.next() else {
                    return Way::Absent;
                };
                match keys.find(key.as_bytes()).filter(|_| shown.next().is_none()) {
                    Some(owner) => Way::Known(Rc::new(Identity {
                        user: None,
                        key: Some(owner.to_owned()),
                        headers: self.named(owner),
                    })),
                    None => Way::Wrong,
                }
            }
            (By::Password, Some(Material::Users(users))) => {
                let Some(sent) = authorization(headers, "basic") else {
                    return Way::Absent;
                };
                let Some(asked) = users.ask(sent) else {
                    return Way::Wrong;
                };
                match memory.passwords.get(&asked.mark, core.since_start()) {
                    Some(true) => Way::Known(Rc::new(Identity {
                        headers: self.named(&asked.user),
                        user: Some(asked.user),
                        key: None,
                    })),
                    Some(false) => Way::Wrong,
                    None => Way::Wait(What::Password(asked)),
                }
            }
            (By::Token(rules), Some(Material::Tokens(keys))) => {
                let Some(sent) = authorization(headers, "bearer") else {
                    return Way::Absent;
                };
                let Some(keys) = keys else {
                    return Way::Wait(What::Keys(self.name.clone(), None));
                };
                self.judge_token(core, &mut memory, rules, &keys, sent, again)
            }
            // Not read yet, or of another kind than a moment ago.
            _ => Way::Wait(What::Keys(self.name.clone(), None)),
        }
    }

    fn judge_token(
        &self,
        core: &Core,
        memory: &mut Memory,
        rules: &claims::Rules,
        keys: &Arc<token::KeySet>,
        sent: &str,
        again: bool,
    ) -> Way {
        let now = core.clock.unix_ms() / 1000;
        let mark = cache::mark(&[self.name.as_bytes(), sent.as_bytes()]);
        let known = memory.tokens.get(&mark, core.since_start());
        let verified = match known {
            Some(verified) => verified,
            None => match keys.verify(sent, rules.algorithms()) {
                Ok(claims) => {
                    let verified = Rc::new(token::Verified {
                        judged: rules.read(&claims, &self.user_header),
                        times: claims::Times::of(&claims),
                    });
                    let for_now = Duration::from_secs(300);
                    memory
                        .tokens
                        .put(mark, Rc::clone(&verified), core.since_start(), for_now);
                    verified
                }
                Err(token::Fault::UnknownKey) if !again => {
                    return Way::Wait(What::Keys(self.name.clone(), Some(Arc::clone(keys))));
                }
                Err(token::Fault::UnknownKey | token::Fault::Invalid) => return Way::Wrong,
            },
        };
        match (rules.in_time(verified.times, now), &verified.judged) {
            (false, _) | (true, Err(Fault::Invalid)) => Way::Wrong,
            (true, Err(Fault::Missing)) => Way::Forbidden,
            (true, Ok(identity)) => Way::Known(Rc::clone(identity)),
        }
    }

    fn named(&self, name: &str) -> Vec<(HeaderName, HeaderValue)> {
        let value = HeaderValue::from_bytes(name.as_bytes()).ok();
        value
            .map(|value| (self.user_header.clone(), value))
            .into_iter()
            .collect()
    }
}

impl Identity {
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Waits for what is missing and judges again.
pub(super) async fn settle(core: &Rc<Core>, guards: &Guards, wait: Wait) -> Result<Rc<Identity>, Refusal> {
    match wait.what {
        What::Keys(name, known) => {
            let changed = core.auth_changed.notified();
            // One question at a time: the answer is for all who wait.
            let first = core.memory.borrow_mut().wanted.insert(name.clone());
            if first {
                core.tell(Event::KeysWanted {
                    core: core.index,
                    auth: name,
                    known,
                });
            }
            // Nothing newer came: what is there judges.
            let _elapsed = tokio::time::timeout(PATIENCE, changed).await;
        }
        What::Password(asked) => {
            let (answer, answered) = oneshot::channel();
            let mark = asked.mark;
            let job = Job {
                password: asked.password,
                hash: asked.hash,
                answer,
            };
            core.passwords
                .try_send(job)
                .map_err(|_full| Refusal::CannotTell)?;
            let verdict = tokio::time::timeout(PATIENCE, answered).await;
            let Ok(Ok(sound)) = verdict else {
                return Err(Refusal::CannotTell);
            };
            let keep = if sound { basic::KEEP } else { basic::KEEP_WRONG };
            let now = core.since_start();
            core.memory.borrow_mut().passwords.put(mark, sound, now, keep);
        }
    }
    match guards.judge(core, &wait.shown, true) {
        Judged::Known(identity) => Ok(identity),
        Judged::Refused(refusal) => Err(refusal),
        Judged::Wait(_) => Err(Refusal::CannotTell),
    }
}

impl Wait {
    pub(super) fn has_token(&self) -> bool {
        has_token(&self.shown)
    }
}

pub(super) fn has_token(headers: &HeaderMap) -> bool {
    authorization(headers, "bearer").is_some()
}

/// The one `Authorization` of this scheme, without it.
fn authorization<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next()?;
    all.next().is_none().then(|| credentials(value, scheme))?
}

fn credentials<'a>(value: &'a HeaderValue, scheme: &str) -> Option<&'a str> {
    let (found, rest) = value.to_str().ok()?.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// What no snapshot may leave out: names that exist.
pub(crate) fn check(settings: &EdgeSettings, filters: &banyan_config::Filters) -> Result<(), String> {
    let unknown = filters
        .auth
        .iter()
        .find(|name| !settings.auth.contains_key(*name));
    match unknown {
        Some(name) => Err(format!("there is no auth {name}")),
        None => Ok(()),
    }
}
