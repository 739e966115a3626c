//! What answers and successes mean for the session: settings that were asked for, names that are gone, reported parameters.

use std::borrow::Cow;
use std::rc::Rc;

use super::Backend;
use super::replies::{Show, Sink};
use crate::session::Session;
use crate::session::marks::{Effect, Marks, Touched};
use crate::session::prepared::PREFIX;
use crate::session::settings::Settings;
use crate::session::truth;
use crate::wire::message;

impl Backend {
    pub(super) fn learn(
        &mut self,
        marks: Marks,
        names: &[Touched],
        answer: truth::Answer,
        sink: &mut Sink<'_>,
    ) {
        let session = &mut *sink.session;
        session.pins = session.pins.without(marks).with(answer.ties);
        session.is_known();
        if names.is_empty() && answer.set.is_none() {
            return;
        }
        let mut theirs = Settings::clone(&session.settings);
        let mut real = Settings::clone(&self.settings);
        if let Some(set) = answer.set {
            take_all(&set, &session.startup, &mut theirs, &mut real);
        }
        for (touched, value) in names.iter().zip(answer.values) {
            let name = &*touched.name;
            match value.text {
                _ if value.reset => {
                    real.remove(name);
                    theirs.remove(name);
                    if let Some(first) = session.startup.get(name) {
                        theirs.set(name, first);
                    }
                }
                Some(value) if is_default_identity(name, &value) => {
                    real.remove(name);
                    theirs.remove(name);
                }
                Some(value) => {
                    real.set(name, &value);
                    theirs.set(name, &value);
                }
                None => {
                    real.remove(name);
                    theirs.remove(name);
                }
            }
        }
        self.settings = sink.shop.intern_settings(real);
        session.take_settings(sink.shop.intern_settings(theirs), sink.shop);
    }

    pub(super) fn apply(&mut self, effect: &Effect, sink: &mut Sink<'_>) {
        let session = &mut *sink.session;
        match effect {
            Effect::Deallocate(name) => self.deallocated(name, session),
            Effect::DeallocateAll => {
                self.known.clear();
                session.prepared.clear();
            }
            Effect::DiscardAll => {
                self.known.clear();
                session.prepared.clear();
                session.unnamed = None;
                session.touched.clear();
                self.settings = sink.shop.intern_settings(Settings::default());
                session.take_settings(Rc::clone(&session.startup), sink.shop);
                session.pins = session.pins.without(Marks::UNKNOWN.with(Marks::SEQUENCE_WRITE));
            }
            // The settings are asked for: a rollback may take it back.
            Effect::ResetAll => {}
        }
    }

    /// `name`: the client's. A prepared DEALLOCATE has ours in its place, and so has one of a client that has looked them up.
    fn deallocated(&mut self, name: &[u8], session: &mut Session) {
        let theirs: Option<Box<[u8]>> = match session.prepared.get(name) {
            Some(_) => Some(name.into()),
            None => session.prepared.client_name(name).map(Into::into),
        };
        let statement = theirs.and_then(|theirs| session.prepared.remove(&theirs));
        let ours = match &statement {
            Some(statement) => Cow::Borrowed(&*statement.name),
            None => String::from_utf8_lossy(name),
        };
        self.known.forget(&ours);
    }

    pub(super) fn parameter(&mut self, body: &[u8], hidden: bool, sink: &mut Sink<'_>) -> Show {
        let Some((name, value)) = message::read_parameter(body) else {
            return Show::Hide;
        };
        let mut parameters = Rc::clone(&self.parameters);
        if parameters.set(name, value) {
            self.parameters = sink.shop.intern_parameters(Rc::unwrap_or_clone(parameters));
        }
        if hidden {
            return Show::Hide;
        }
        let mut theirs = Rc::clone(&sink.session.parameters);
        if theirs.set(name, value) {
            sink.session.parameters = sink.shop.intern_parameters(Rc::unwrap_or_clone(theirs));
        }
        Show::Pass
    }

    /// The client hears of what is other than it believes.
    pub(crate) fn tell_parameters(&self, sink: &mut Sink<'_>) {
        if Rc::ptr_eq(&self.parameters, &sink.session.parameters) {
            return;
        }
        for (name, value) in self.parameters.iter() {
            if sink.session.parameters.get(name) != Some(value) {
                message::parameter_status(sink.out, name, value);
            }
        }
        sink.session.parameters = Rc::clone(&self.parameters);
    }
}

/// What is not among all that is set has been reset. Of names with a dot the server does not tell.
fn take_all(set: &[(String, String)], startup: &Settings, theirs: &mut Settings, real: &mut Settings) {
    let told = |name: &str| !name.contains('.') && !Settings::is_identity(name);
    let gone: Vec<String> = real
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| told(name) && !set.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)))
        .collect();
    for name in &gone {
        real.remove(name);
        theirs.remove(name);
        if let Some(first) = startup.get(name) {
            theirs.set(name, first);
        }
    }
    for (name, value) in set.iter().filter(|(name, _)| !Settings::is_momentary(name)) {
        real.set(name, value);
        theirs.set(name, value);
    }
}

/// `role` and `session_authorization` at rest: nobody special.
fn is_default_identity(name: &str, value: &str) -> bool {
    name == "role" && value == "none"
}

/// An error with the client's names for statements in place of ours.
pub(super) fn rename(body: &[u8], session: &Session) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = memchr::memmem::find(rest, PREFIX) {
        out.extend_from_slice(&rest[..at]);
        let digits = rest[at + PREFIX.len()..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        let end = at + PREFIX.len() + digits;
        match session.prepared.client_name(&rest[at..end]) {
            Some(name) => out.extend_from_slice(name),
            None => out.extend_from_slice(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
    out
}
