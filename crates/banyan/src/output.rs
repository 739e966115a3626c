//! What a verb needs to speak: data on stdout, everything else on stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::cli::Global;
use crate::place::Place;
use crate::render::paint::Paint;

pub(crate) struct Context {
    pub(crate) json: bool,
    pub(crate) verbose: u8,
    pub(crate) place: Place,
    /// For stdout.
    pub(crate) paint: Paint,
    pub(crate) paint_err: Paint,
    pub(crate) stderr_is_terminal: bool,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        let no_color = environment("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json: global.json,
            verbose: global.verbose,
            paint: Paint::new(global.color, no_color, &io::stdout()),
            paint_err: Paint::new(global.color, no_color, &io::stderr()),
            stderr_is_terminal: io::stderr().is_terminal(),
            place: Place::new(global.config, global.env, global.state),
        }
    }

    /// Text to stdout, as it is.
    pub(crate) fn print(&self, text: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// One JSON document to stdout.
    pub(crate) fn print_json<T: Serialize>(&self, value: &T) -> anyhow::Result<()> {
        self.print(&(serde_json::to_string_pretty(value)? + "\n"))
    }

    /// A line for the person, on stderr. Nobody there is no error.
    pub(crate) fn say(&self, line: &str) {
        ignore(writeln!(io::stderr().lock(), "{line}"));
    }
}

/// A person who cannot be reached is no reason to stop.
pub(crate) fn ignore(_: io::Result<()>) {}

/// The binary alone reads the environment.
#[expect(clippy::disallowed_methods, reason = "the binary alone reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
