//! Messages of our own on a borrowed backend; their replies stay here.

use std::rc::Rc;

use super::expected::{Kind, Ours};
use super::known::Has;
use super::{Backend, Unnamed};
use crate::session::marks::{Marks, Touched};
use crate::session::prepared::Statement;
use crate::session::settings::{Settings, anew, difference};
use crate::session::truth;
use crate::wire::message;

impl Backend {
    /// Between units only: a simple Query ends an implicit transaction and forgets the unnamed statement.
    pub(super) fn ask(&mut self, sql: &str, purpose: Ours) {
        message::query(&mut self.outbox, sql);
        self.unnamed = Unnamed::Nothing;
        self.expect(Kind::Ours(purpose), true);
    }

    pub(crate) fn bring_to(&mut self, settings: &Rc<Settings>) {
        let sql = difference(&self.settings, settings);
        self.ask(&sql, Ours::Settings(Rc::clone(settings)));
    }

    /// As [`Self::bring_to`], after a client whose settings are not all known.
    pub(crate) fn bring_anew(&mut self, settings: &Rc<Settings>) {
        self.ask(&anew(settings), Ours::Anew(Rc::clone(settings)));
    }

    pub(crate) fn ask_truth(&mut self, marks: Marks, names: Vec<Touched>) {
        self.unclean |= marks.has(Marks::HIDDEN);
        let marks = truth::all_of(marks);
        let sql = truth::question(marks, &names);
        self.ask(&sql, Ours::Truth { marks, names });
    }

    pub(crate) fn clean(&mut self, sql: &str) {
        self.ask(sql, Ours::Clean);
    }

    /// Makes sure that the server holds `statement` under its name. `false`: that is known only when replies have come.
    pub(crate) fn provide(&mut self, statement: &Rc<Statement>) -> bool {
        match self.known.has(&statement.name) {
            Has::Yes => true,
            Has::Perhaps => self.in_this_unit(&statement.name),
            Has::No => {
                self.parse(&statement.name.clone(), statement, None, true);
                true
            }
        }
    }

    /// Was it sent since the last Sync? Then it lives or falls with what follows.
    fn in_this_unit(&self, name: &str) -> bool {
        let unit = self.expected.iter().rev().take_while(|e| !e.kind.ends_unit());
        unit.into_iter()
            .any(|e| matches!(&e.kind, Kind::Parse { statement, .. } if *statement.name == *name))
    }

    /// Sends a Parse under `name`, which is the statement's own or empty.
    pub(crate) fn parse(
        &mut self,
        name: &str,
        statement: &Rc<Statement>,
        client_name: Option<Box<[u8]>>,
        hidden: bool,
    ) {
        if !name.is_empty() {
            self.known.sent(name);
            if let Some(old) = self.known.surplus() {
                message::close_statement(&mut self.outbox, &old);
                self.expect(Kind::Close { surplus: Some(old) }, true);
            }
        }
        message::parse(&mut self.outbox, name, &statement.text, &statement.types);
        let kind = Kind::Parse {
            statement: Rc::clone(statement),
            name: client_name,
        };
        self.expect(kind, hidden);
    }

    /// Closes the unnamed statement.
    pub(crate) fn close_unnamed(&mut self) {
        message::close_statement(&mut self.outbox, "");
        self.expect(Kind::Close { surplus: None }, true);
        self.unnamed = Unnamed::Nothing;
    }

    /// No sequence value of former tenants can be read after this. Between messages that a Sync has ended only.
    pub(crate) fn forget_sequences(&mut self) {
        self.ask("DISCARD SEQUENCES", Ours::Forget);
        self.sequences = false;
    }
}
