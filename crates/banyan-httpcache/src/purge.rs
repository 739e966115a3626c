//! Which stored responses a purge has reached: a table of ticks, no index of what is stored.
//!
//! The tick rises with each purge. A stored response carries the tick at which its request to the origin *began* (a fill
//! under way may bring the old body) and hashes of all names that could reach it. A purge writes its tick beside one
//! hash; a response is purged if one of its hashes has a later tick. So a purge costs the same for one object and for
//! a million, holds from the moment it is written, and hash collisions only purge too much.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::key::decoded;
use crate::lookup::Standing;
use crate::time::Time;

/// Path prefixes that a response answers to; a deeper prefix purges the deepest that counts.
const DEEPEST: usize = 16;
/// More rows than this fold: everything older counts as purged.
const MOST_ROWS: usize = 1_000_000;
/// More patterns than this fold, too.
const MOST_GLOBS: usize = 1_000;

/// What a purge names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// One URI, in every variant.
    Url(String),
    /// `scheme://host/path/`, and all below it.
    Prefix(String),
    /// `*` stands for any characters.
    Glob(String),
    Tag(String),
    All,
}

/// How far it goes. Ordered: a later soft purge never weakens a hard one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// Stale from now on: validated before long, and good enough while the origin is down.
    Soft,
    /// Of no use from now on.
    Hard,
}

/// What a stored response answers to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marks {
    /// The tick when its request to the origin began.
    pub born: u64,
    /// For patterns.
    pub uri: Box<str>,
    hashes: Box<[u64]>,
    /// It has passed the table at this tick: later purges alone are of interest.
    passed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Row {
    soft: u64,
    soft_at: Time,
    hard: u64,
}

impl Marks {
    /// Bytes of memory beside its own.
    pub fn size(&self) -> usize {
        self.uri.len() + size_of_val(&*self.hashes)
    }
}

impl Row {
    fn add(&mut self, tick: u64, mode: Mode, now: Time) {
        match mode {
            Mode::Soft => {
                self.soft = tick;
                self.soft_at = now;
            }
            Mode::Hard => self.hard = tick,
        }
    }

    fn last(&self) -> u64 {
        self.soft.max(self.hard)
    }

    fn noted(self, reach: Reach) -> Noted {
        Noted {
            reach,
            soft: self.soft,
            soft_at: self.soft_at,
            hard: self.hard,
        }
    }

    fn merge(&mut self, noted: &Noted) {
        if noted.soft > self.soft {
            (self.soft, self.soft_at) = (noted.soft, noted.soft_at);
        }
        self.hard = self.hard.max(noted.hard);
    }
}

/// What a row of a [`Table`] is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// A URI, a prefix or a tag, by the table's hasher.
    Name(u64),
    Glob(String),
    All,
    /// Everything older.
    Floor,
}

/// A row for whoever keeps it longer than the table lives. Several about the same are as good as one: the latest ticks count, in
/// whatever order they are [`Table::note`]d.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Noted {
    pub reach: Reach,
    /// 0: no soft purge.
    pub soft: u64,
    pub soft_at: Time,
    /// 0: no hard one.
    pub hard: u64,
}

/// All purges that may still concern something stored.
#[derive(Clone, Debug)]
pub struct Table<S = RandomState> {
    tick: u64,
    rows: HashMap<u64, Row>,
    all: Row,
    globs: Vec<(String, Row)>,
    /// Folded rows: what was born at or before it counts as hard purged.
    floor: u64,
    hasher: S,
}

impl Table<RandomState> {
    /// For a store that forgets everything with the process.
    pub fn new() -> Self {
        Self::with_hasher(RandomState::new(), 0)
    }
}

impl Default for Table<RandomState> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: BuildHasher> Table<S> {
    /// For a store that outlives the process: the hasher must give the same hashes again, the tick must not fall.
    pub fn with_hasher(hasher: S, tick: u64) -> Self {
        Self {
            tick,
            rows: HashMap::new(),
            all: Row::default(),
            globs: Vec::new(),
            floor: 0,
            hasher,
        }
    }

    /// The tick to note before a request to the origin is sent.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// From now on ticks are above this one.
    pub fn raise(&mut self, tick: u64) {
        self.tick = self.tick.max(tick);
    }

    /// Takes effect for every response whose request began before this call. Returns what to keep of it.
    pub fn apply(&mut self, target: &Target, mode: Mode, now: Time) -> Noted {
        self.tick += 1;
        let mut row = Row::default();
        row.add(self.tick, mode, now);
        let noted = row.noted(self.reach(target));
        self.merge(&noted);
        noted
    }

    fn reach(&self, target: &Target) -> Reach {
        match target {
            Target::All => Reach::All,
            Target::Glob(pattern) => Reach::Glob(pattern.clone()),
            Target::Url(uri) => Reach::Name(self.hash(Kind::Url, &plain(uri))),
            Target::Tag(tag) => Reach::Name(self.hash(Kind::Tag, tag)),
            Target::Prefix(prefix) => {
                let prefix = plain(prefix);
                let prefix = prefixes(&prefix).last().unwrap_or(&prefix);
                Reach::Name(self.hash(Kind::Prefix, prefix))
            }
        }
    }

    fn merge(&mut self, noted: &Noted) {
        match &noted.reach {
            Reach::All => self.all.merge(noted),
            Reach::Floor => self.floor = self.floor.max(noted.hard),
            Reach::Name(hash) => {
                self.rows.entry(*hash).or_default().merge(noted);
                if self.rows.len() > MOST_ROWS {
                    self.fold_rows();
                }
            }
            Reach::Glob(pattern) => {
                let mut row = Row::default();
                row.merge(noted);
                self.globs.push((pattern.clone(), row));
                self.fold_globs();
            }
        }
    }

    /// Rows of a table with the same hasher ([`Table::probe`]): they hold for what was born before them.
    pub fn note(&mut self, rows: &[Noted]) {
        for noted in rows {
            self.merge(noted);
            self.tick = self.tick.max(noted.soft).max(noted.hard);
        }
        // What has passed the table before has not passed these.
        self.tick += 1;
    }

    /// All that it holds.
    pub fn noted(&self) -> Vec<Noted> {
        let floor = Row {
            hard: self.floor,
            ..Row::default()
        };
        let rows = self.rows.iter().map(|(hash, row)| row.noted(Reach::Name(*hash)));
        let globs = self.globs.iter();
        let globs = globs.map(|(pattern, row)| row.noted(Reach::Glob(pattern.clone())));
        rows.chain(globs)
            .chain([self.all.noted(Reach::All), floor.noted(Reach::Floor)])
            .collect()
    }

    /// Rows and patterns.
    pub fn len(&self) -> usize {
        self.rows.len() + self.globs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tables that say the same here have the same hasher.
    pub fn probe(&self) -> u64 {
        self.hash(Kind::Url, "https://shop.example/a?b")
    }

    /// The older half of the rows becomes one floor.
    fn fold_rows(&mut self) {
        let mut ticks: Vec<u64> = self.rows.values().map(Row::last).collect();
        let middle = ticks.len() / 2;
        let (_, floor, _) = ticks.select_nth_unstable(middle);
        self.floor = self.floor.max(*floor);
        let floor = self.floor;
        self.rows.retain(|_, row| row.last() > floor);
    }

    fn fold_globs(&mut self) {
        if self.globs.len() > MOST_GLOBS {
            let (_, row) = self.globs.remove(0);
            self.floor = self.floor.max(row.last());
        }
    }

    /// The names of a response under this URI with these tags. `born` is the tick before its request was sent.
    pub fn marks(&self, uri: &str, tags: &[String], born: u64) -> Marks {
        let mut hashes = self.names(uri, str::to_owned);
        if uri.contains('%') {
            hashes.extend(self.names(uri, |part| plain(part).into_owned()));
        }
        hashes.extend(tags.iter().map(|tag| self.hash(Kind::Tag, tag)));
        Marks {
            born,
            uri: uri.into(),
            hashes: hashes.into(),
            passed: born,
        }
    }

    /// The URI and what it lies below, as they are `spelled`.
    fn names(&self, uri: &str, spelled: impl Fn(&str) -> String) -> Vec<u64> {
        let path = spelled(uri.split(['?', '#']).next().unwrap_or(uri));
        let below = prefixes(&path).map(|prefix| self.hash(Kind::Prefix, prefix));
        let url = std::iter::once(self.hash(Kind::Url, &spelled(uri)));
        url.chain(below).collect()
    }

    /// The tick of the last hard purge that names this URI, by whatever but a tag; 0: none.
    pub fn last_hard(&self, uri: &str) -> u64 {
        let marks = self.marks(uri, &[], 0);
        let hard = self.rows_of(&marks).map(|row| row.hard);
        hard.fold(self.floor, u64::max)
    }

    /// Whether a purge has reached a response. One comparison when there was none since the last call.
    pub fn standing(&self, marks: &mut Marks) -> Standing {
        if marks.passed == self.tick {
            return Standing::Sound;
        }
        let standing = self.judge(marks);
        if standing == Standing::Sound {
            marks.passed = self.tick;
        }
        standing
    }

    fn judge(&self, marks: &Marks) -> Standing {
        if self.floor > marks.born {
            return Standing::Purged;
        }
        if self.rows_of(marks).any(|row| row.hard > marks.born) {
            return Standing::Purged;
        }
        self.rows_of(marks)
            .filter(|row| row.soft > marks.born)
            .map(|row| row.soft_at)
            .min()
            .map_or(Standing::Sound, Standing::SoftlyPurged)
    }

    fn rows_of<'a>(&'a self, marks: &'a Marks) -> impl Iterator<Item = &'a Row> {
        let named = marks.hashes.iter().filter_map(|hash| self.rows.get(hash));
        let globs = self.globs.iter();
        let spelled_otherwise =
            |pattern: &str| marks.uri.contains('%') && matches(pattern, &plain(&marks.uri));
        let matching =
            globs.filter(move |(pattern, _)| matches(pattern, &marks.uri) || spelled_otherwise(pattern));
        named.chain(matching.map(|(_, row)| row)).chain([&self.all])
    }

    fn hash(&self, kind: Kind, name: &str) -> u64 {
        self.hasher.hash_one((kind as u8, name))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Url,
    Prefix,
    Tag,
}

/// What most apps read: escapes as what they stand for. A purge is of what lies at an address, however that was spelled by who
/// asked first; only purges may know, for an app that does tell spellings apart must not have them mixed up in the store.
fn plain(uri: &str) -> Cow<'_, str> {
    if !uri.contains('%') {
        return Cow::Borrowed(uri);
    }
    Cow::Owned(String::from_utf8_lossy(&decoded(uri)).into_owned())
}

/// `https://host/a/b.css` → `https://host/`, `https://host/a/`: what ends in a slash, the shallowest first.
fn prefixes(uri: &str) -> impl Iterator<Item = &str> {
    let host = uri.find("://").map_or(0, |at| at + 3);
    uri[host..]
        .match_indices('/')
        .take(DEEPEST)
        .map(move |(at, _)| &uri[..=host + at])
}

/// `*` is any run of characters; everything else is itself. Linear in pattern times text, no recursion.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(byte), _) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
