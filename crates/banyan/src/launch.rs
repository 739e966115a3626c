//! `banyan launch … -- ARGV`: the shim; becomes the child it launches.
//!
//! Taken before the command line is parsed: what follows belongs to the child, and no thread may exist yet.

use std::ffi::OsString;
use std::process::ExitCode;

/// `None`: another verb. Otherwise it returns only when the launch has failed.
pub(crate) fn if_asked(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.skip(1);
    if arguments.next()? != "launch" {
        return None;
    }
    Some(ExitCode::from(126))
}
