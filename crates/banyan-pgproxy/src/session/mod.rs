//! What a client's session is made of, so that any backend can continue it: settings, prepared statements, pins.

pub(crate) mod code;
pub(crate) mod intern;
pub(crate) mod marks;
pub(crate) mod prepared;
pub(crate) mod scan;
pub(crate) mod settings;
pub(crate) mod truth;
mod words;

use std::cell::RefCell;
use std::rc::Rc;

use marks::{Effect, Marks, Touched};
use prepared::{Prepared, Statement};
use scan::Scan;
use settings::{Parameters, Settings};

use crate::worker::Shop;

/// Texts that are kept to be looked into later, and how long each may be.
const UNREAD: usize = 8;
const UNREAD_TEXT: usize = 16 * 1024;

/// Which texts can be taken apart under these.
type Lexed = (Rc<Settings>, Rc<Parameters>, Lexable);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lexable {
    All,
    /// A backslash in a plain string escapes what follows it (`standard_conforming_strings` is off).
    WithoutBackslash,
    None,
}

/// Of one client. Small: most clients are idle.
pub(crate) struct Session {
    /// What the client gave at its start: RESET goes back to it.
    pub(crate) startup: Rc<Settings>,
    pub(crate) settings: Rc<Settings>,
    /// What of the settings decides what a text means.
    pub(crate) meaning: Rc<Settings>,
    /// What the client believes of the reported parameters.
    pub(crate) parameters: Rc<Parameters>,
    pub(crate) prepared: Prepared,
    pub(crate) unnamed: Option<Rc<Statement>>,
    /// What statements since the last look may have changed.
    pub(crate) marks: Marks,
    /// Names of the settings among it.
    pub(crate) touched: Vec<Touched>,
    /// Texts among what `marks` are of that nobody could look into then: should the server be lost before it says what they
    /// left, they are looked into later.
    unread: Vec<Box<[u8]>>,
    /// Something else is among it.
    told: bool,
    /// What the server was asked for and did not answer.
    pub(crate) doubted: Option<Box<(Marks, Vec<Touched>)>>,
    /// Why the backend stays: empty when it need not.
    pub(crate) pins: Marks,
    /// What was found out last, and of what.
    lexable: RefCell<Option<Lexed>>,
    /// The backend of the last unit that may have advanced a sequence, and its tenure.
    pub(crate) sequence: Option<(u64, u64)>,
}

impl Session {
    pub(crate) fn new(startup: Rc<Settings>, parameters: Rc<Parameters>, shop: &Shop) -> Self {
        Self {
            settings: Rc::clone(&startup),
            meaning: shop.intern_settings(prepared::meaning(&startup)),
            startup,
            parameters,
            prepared: Prepared::default(),
            unnamed: None,
            marks: Marks::default(),
            touched: Vec::new(),
            unread: Vec::new(),
            told: false,
            doubted: None,
            pins: Marks::default(),
            sequence: None,
            lexable: RefCell::default(),
        }
    }

    /// A statement may have left this.
    pub(crate) fn note(&mut self, scan: &Scan) {
        self.marks = self.marks.with(scan.marks.without(Marks::UNREAD));
        if scan.marks.has(Marks::DEFINITIONS) && self.settings.creates_temporary() {
            self.marks = self.marks.with(Marks::TEMPORARY);
        }
        self.told |= !scan.marks.without(Marks::FREE).is_none();
        self.touched.extend_from_slice(&scan.touched);
        if scan.effects.contains(&Effect::ResetAll) {
            for (name, _) in self.settings.iter().chain(self.startup.iter()) {
                let name = name.into();
                self.touched.push(Touched { name, reset: true });
            }
        }
    }

    /// The statement with this text may have left this by code that does not show in it.
    pub(crate) fn note_left(&mut self, left: &Scan, text: &[u8]) {
        let told = self.told;
        self.note(left);
        if left.marks.has(Marks::UNREAD) && self.unread.len() < UNREAD && text.len() <= UNREAD_TEXT {
            self.told = told;
            self.unread.push(text.into());
        }
    }

    /// The texts that alone are the reason to ask what the session is; `None`: there are other reasons.
    pub(crate) fn take_unread(&mut self) -> Option<Vec<Box<[u8]>>> {
        let only = !self.told && !self.unread.is_empty();
        only.then(|| std::mem::take(&mut self.unread))
    }

    /// It is known what the statements so far have left.
    pub(crate) fn is_known(&mut self) {
        self.unread.clear();
        self.told = false;
    }

    /// What was not answered is asked again at the next occasion.
    pub(crate) fn ask_again(&mut self) {
        if let Some(doubted) = self.doubted.take() {
            let (marks, mut touched) = *doubted;
            self.marks = self.marks.with(marks);
            touched.append(&mut self.touched);
            self.touched = touched;
            self.pins = self.pins.without(Marks::DOUBT);
        }
    }

    pub(crate) fn take_settings(&mut self, settings: Rc<Settings>, shop: &Shop) {
        if !Rc::ptr_eq(&settings, &self.settings) {
            self.meaning = shop.intern_settings(prepared::meaning(&settings));
            self.settings = settings;
        }
    }

    /// Can the text be taken apart under these settings? Asked for every statement, found out when they change.
    pub(crate) fn can_lex(&self, text: &[u8]) -> bool {
        match self.lexable() {
            Lexable::All => true,
            Lexable::WithoutBackslash => memchr::memchr(b'\\', text).is_none(),
            Lexable::None => false,
        }
    }

    fn lexable(&self) -> Lexable {
        if let Some((meaning, parameters, lexable)) = &*self.lexable.borrow()
            && Rc::ptr_eq(meaning, &self.meaning)
            && Rc::ptr_eq(parameters, &self.parameters)
        {
            return *lexable;
        }
        let lexable = self.find_lexable();
        let found = (Rc::clone(&self.meaning), Rc::clone(&self.parameters), lexable);
        *self.lexable.borrow_mut() = Some(found);
        lexable
    }

    /// The server reports both, also what it has by default and what a transaction has set.
    fn find_lexable(&self) -> Lexable {
        const STRINGS: &str = "standard_conforming_strings";
        let encoding = self.parameters.get("client_encoding").unwrap_or("UTF8");
        let trailing_ascii = ["SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB", "SHIFT_JIS_2004"];
        let strings = [self.meaning.get(STRINGS), self.parameters.get(STRINGS)];
        match strings.into_iter().flatten().all(|value| value == "on") {
            _ if trailing_ascii.contains(&encoding) => Lexable::None,
            true => Lexable::All,
            false => Lexable::WithoutBackslash,
        }
    }

    /// May a text mean something else here than `meaning` says, until the transaction ends or for as long as there are temporary objects?
    pub(crate) fn is_apart(&self) -> bool {
        let unknown = Marks::TEMPORARY.with(Marks::UNKNOWN).with(Marks::HIDDEN);
        let marks = self.marks.with(self.pins);
        marks.has(unknown.with(Marks::LOCAL)) || self.touched.iter().any(|one| prepared::decides(&one.name))
    }
}
