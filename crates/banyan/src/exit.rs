//! Exit codes: the one place that turns how a verb ended into a number.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, ValueEnum};

use crate::cli::Cli;
use crate::output::ignore;
use crate::render::error;
use crate::render::paint::{Paint, When};

/// How a verb ended, errors apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// It ended in an error that has been shown already.
    Failed,
    /// `plan`: changes; `check`, `doctor`: findings.
    Findings,
    /// `run`: there is no such program. As shells say it.
    NoProgram,
    /// Wrong usage. Not clap's 2, which would read as "changes".
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Findings => 2,
            Exit::NoProgram => 127,
            Exit::Usage => 64,
        })
    }
}

/// The command line, or the code to exit with after help, version or a usage error has been printed.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let matches = Cli::command()
        .color(color_wish(std::env::args()).into())
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    matches.map_err(|error| {
        let exit = match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
            _ => Exit::Usage,
        };
        // A closed stdout or stderr leaves nobody to tell.
        ignore(error.print());
        exit.into()
    })
}

/// `--color` is needed before the rest is parsed: errors of parsing are coloured too.
fn color_wish(args: impl Iterator<Item = String>) -> When {
    let mut wish = When::Auto;
    let mut previous = String::new();
    for arg in args.take_while(|arg| arg != "--") {
        let value = match arg.strip_prefix("--color=") {
            Some(value) => Some(value),
            None if previous == "--color" => Some(arg.as_str()),
            None => None,
        };
        if let Some(when) = value.and_then(|value| When::from_str(value, false).ok()) {
            wish = when;
        }
        previous = arg;
    }
    wish
}

/// Prints the error. A reader that has gone away (`banyan logs | head`) is no error.
pub(crate) fn report(error: &anyhow::Error, paint: Paint) -> ExitCode {
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    // Only our own stdout: a pipe that broke deeper down has a message around it.
    if error.chain().count() == 1 && error.chain().any(broken_pipe) {
        return Exit::Done.into();
    }
    ignore(
        io::stderr()
            .lock()
            .write_all(error::render(error, paint).as_bytes()),
    );
    Exit::Failed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_known_before_parsing_and_not_taken_from_behind_the_dashes() {
        let wish = |line: &str| color_wish(line.split(' ').map(str::to_owned));
        assert_eq!(wish("banyan status"), When::Auto);
        assert_eq!(wish("banyan --color never status"), When::Never);
        assert_eq!(wish("banyan status --color=always"), When::Always);
        assert_eq!(wish("banyan launch -- --color=always"), When::Auto);
    }
}
