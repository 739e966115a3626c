//! The binary: verbs and wiring. It alone sees both planes, collects files and environment, prints, and exits.

mod cli;
mod client;
mod cmd;
mod controller;
mod exit;
mod launch;
mod loading;
mod logs;
mod machine;
mod output;
mod place;
mod remains;
mod render;
mod roles;
mod serving;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = launch::if_asked(std::env::args_os()) {
        return code;
    }
    let cli = match exit::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let context = output::Context::new(cli.global);
    match cmd::run(cli.verb, &context) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error, context.paint_err),
    }
}
