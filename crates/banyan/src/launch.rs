//! `banyan launch … -- ARGV`: the shim; becomes the child it launches.
//!
//! Taken before the command line is parsed: what follows belongs to the child, and no thread may exist yet.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use banyan_supervisor::launch;

use crate::output::ignore;

/// `None`: another verb. Otherwise it returns only when the launch has failed; stderr is the child's log.
pub(crate) fn if_asked(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.skip(1);
    if arguments.next()? != "launch" {
        return None;
    }
    let error = launch::run(arguments);
    let cause = error
        .source()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    ignore(writeln!(io::stderr().lock(), "banyan launch: {error}{cause}"));
    Some(ExitCode::from(error.exit_code()))
}
