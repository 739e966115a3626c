//! What other edges must hear: unsafe requests that passed this one made something untrue that they may have stored, too.
//!
//! Off while there is no other edge. Bounded: what is too much becomes all of its host.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use banyan_topology::purge::Scope;

/// Names that wait to be told.
const MOST: usize = 1000;

#[derive(Default)]
pub(crate) struct Elsewhere {
    on: AtomicBool,
    waiting: Mutex<VecDeque<Scope>>,
    /// What the log does not have yet, as far as is known.
    unheard: Mutex<VecDeque<Scope>>,
    news: Notify,
}

impl Elsewhere {
    /// Whether others may have stored what this edge has.
    pub(crate) fn switch(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub(crate) fn note(&self, scope: Scope) {
        if !self.on.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains(&scope) {
            return;
        }
        let scope = add(&mut waiting, scope);
        drop(waiting);
        self.news.notify_one();
        add(&mut self.unheard(), scope);
    }

    fn unheard(&self) -> MutexGuard<'_, VecDeque<Scope>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log has it: how far that is known says the rest.
    pub(crate) fn heard(&self, scope: &Scope) {
        let covers = |one: &Scope| one == scope || *scope == Scope::All;
        self.unheard().retain(|one| !covers(one));
    }

    /// Other edges may not know yet that what they have of this URI is untrue.
    pub(crate) fn concerns(&self, uri: &str) -> bool {
        self.unheard().iter().any(|scope| match scope {
            Scope::Url(name) => name == uri,
            Scope::Prefix(name) => uri.starts_with(name.as_str()),
            // Whom a tag names, only who has it knows.
            Scope::Glob(_) | Scope::Tag(_) | Scope::All => true,
        })
    }

    /// Resolves when there is something to take.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<Scope> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain(..).collect()
    }
}

/// Once, and as what it became for want of room.
fn add(scopes: &mut VecDeque<Scope>, scope: Scope) -> Scope {
    let scope = if scopes.len() < MOST { scope } else { wider(scope) };
    if !scopes.contains(&scope) {
        scopes.push_back(scope.clone());
    }
    scope
}

/// All of the host.
fn wider(scope: Scope) -> Scope {
    let (Scope::Url(name) | Scope::Prefix(name)) = scope else {
        return Scope::All;
    };
    let host = name.find("://").map_or(0, |at| at + 3);
    let end = name[host..].find('/').map_or(name.len(), |at| host + at + 1);
    Scope::Prefix(name[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_becomes_all_of_its_host() {
        let others = Elsewhere::default();
        others.note(Scope::All);
        assert!(others.take().is_empty(), "nobody is there to hear it");
        others.switch(true);
        for n in 0..3000 {
            others.note(Scope::Url(format!("https://shop.example/{n}")));
        }
        let told = others.take();
        assert_eq!(told.len(), MOST + 1);
        let concerns = |path: &str| others.concerns(&format!("https://shop.example/{path}"));
        assert!(concerns("0") && concerns("2999") && concerns("anything"));
        for scope in &told {
            others.heard(scope);
        }
        assert!(!concerns("0"));
        others.note(Scope::Url("https://shop.example/7".to_owned()));
        assert!(concerns("7") && !concerns("8"));
        others.heard(&Scope::All);
        assert!(!concerns("7"));
        assert_eq!(told[MOST], Scope::Prefix("https://shop.example/".to_owned()));
    }
}
