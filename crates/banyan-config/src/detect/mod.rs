//! `banyan init`: what a folder most likely holds, as a banyan.toml to correct. Guesses are named as such.

mod languages;
mod render;

use std::path::Path;

use crate::procfile;
use crate::report::Report;

/// A folder, without recursion: what is in it, and the text of a file in it (or below it).
pub struct Folder<'a> {
    /// Its own name, the source of the app's name.
    pub name: &'a str,
    /// Names of files and folders in it.
    pub entries: &'a [String],
    /// `None`: there is no such file, or it is not text.
    pub read: &'a dyn Fn(&Path) -> Option<String>,
}

impl Folder<'_> {
    fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry == name)
    }

    fn read(&self, name: &str) -> Option<String> {
        self.has(name.split('/').next().unwrap_or(name))
            .then(|| (self.read)(Path::new(name)))
            .flatten()
    }
}

/// What [`detect`] found; [`Proposal::to_toml`] is the file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// A valid name for the app.
    pub name: String,
    /// What it looks like, for example "Django"; `None`: nothing was recognised.
    pub kind: Option<String>,
    /// Processes to write into banyan.toml; empty when a Procfile has them.
    pub processes: Vec<ProposedProcess>,
    /// The processes of the Procfile, which need no table.
    pub procfile: Vec<String>,
    pub release: Option<String>,
    /// Environment beyond what Banyan sets.
    pub env: Vec<(String, String)>,
    /// A dependency that wants PostgreSQL, if one was found.
    pub database: Option<String>,
    /// What was guessed about the commands, a sentence each.
    pub guesses: Vec<String>,
    /// What the user has to see to, a sentence each.
    pub check: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedProcess {
    pub name: String,
    pub command: String,
}

impl Proposal {
    fn web(&mut self, command: impl Into<String>) {
        self.processes.push(ProposedProcess {
            name: "web".to_owned(),
            command: command.into(),
        });
    }

    fn check(&mut self, sentence: impl Into<String>) {
        self.check.push(sentence.into());
    }

    fn guess(&mut self, sentence: impl Into<String>) {
        self.guesses.push(sentence.into());
    }

    fn env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }
}

/// Pure; the same folder gives the same proposal.
pub fn detect(folder: &Folder<'_>) -> Proposal {
    let mut proposal = Proposal {
        name: crate::check::suggest_name(folder.name).unwrap_or_else(|| "myapp".to_owned()),
        kind: None,
        processes: Vec::new(),
        procfile: Vec::new(),
        release: None,
        env: Vec::new(),
        database: None,
        guesses: Vec::new(),
        check: Vec::new(),
    };
    languages::recognise(folder, &mut proposal);
    if let Some(text) = folder.read("Procfile") {
        use_procfile(&text, &mut proposal);
    }
    if proposal.processes.is_empty() && proposal.procfile.is_empty() {
        proposal.web("./replace-with-your-server");
        proposal.check(
            "Nothing in the folder tells how the app is started: replace the command of [process.web].",
        );
    }
    proposal
}

/// Its lines are what the author says, so guesses give way.
fn use_procfile(text: &str, proposal: &mut Proposal) {
    let report = Report::default();
    let file = report.add_file(Path::new("Procfile"), text, false);
    let found = procfile::parse(text, file, &report);
    if report.has_errors() {
        proposal.check("The Procfile has mistakes: `banyan config` names each with its line.");
    }
    proposal.procfile = found.processes.iter().map(|(name, _)| name.to_string()).collect();
    if found.release.is_some() {
        proposal.release = None;
    }
    if !proposal.procfile.is_empty() {
        proposal.processes.clear();
        proposal.guesses.clear();
    }
}
