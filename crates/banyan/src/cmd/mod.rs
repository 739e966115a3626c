//! One verb per file; this is their list.

mod advise;
mod alerts;
mod apply;
mod autoscale;
mod backup;
mod cache;
mod cdn;
mod check;
mod completions;
mod config;
mod dashboard;
mod database;
mod destroy;
mod doctor;
mod down;
mod export;
mod init;
mod logs;
mod plan;
mod purge;
mod restore;
mod route;
mod run;
mod status;
mod top;
mod trace;
mod trust;
mod up;
mod version;

use crate::cli::Verb;
use crate::exit::Exit;
use crate::output::Context;
use crate::roles;

pub(crate) fn run(verb: Verb, context: &Context) -> anyhow::Result<Exit> {
    match verb {
        Verb::Init(args) => init::run(&args, context),
        Verb::Check(args) => check::run(&args, context),
        Verb::Up(args) => up::run(&args, context),
        Verb::Down => down::run(context),
        Verb::Status(args) => status::run(&args, context),
        Verb::Top(args) => top::run(&args, context),
        Verb::Dashboard => dashboard::run(context),
        Verb::Run(args) => run::run(args, context),
        Verb::Logs(args) => logs::run(args, context),
        Verb::Trace(args) => trace::run(&args, context),
        Verb::Doctor => doctor::run(context),
        Verb::Config(args) => config::run(&args, context),
        Verb::Route(args) => route::run(&args, context),
        Verb::Cdn(args) => cdn::run(&args, context),
        Verb::Plan(args) => plan::run(&args, context),
        Verb::Apply(args) => apply::run(&args, context),
        Verb::Deploy => apply::deploy(context),
        Verb::Rollback(args) => apply::rollback(&args, context),
        Verb::Database(args) => database::run(&args, context),
        Verb::Autoscale(args) => autoscale::run(&args, context),
        Verb::Advise(args) => advise::run(&args, context),
        Verb::Alerts(args) => alerts::run(&args, context),
        Verb::Export(args) => export::run(&args, context),
        Verb::Cache(args) => cache::run(&args, context),
        Verb::Backup(args) => backup::run(&args, context),
        Verb::Restore(args) => restore::run(&args, context),
        Verb::Purge(args) => purge::run(&args, context),
        Verb::Trust => trust::run(context),
        Verb::Destroy(args) => destroy::run(&args, context),
        Verb::Completions(args) => completions::run(&args, context),
        Verb::Version => version::run(context),
        Verb::Role(args) => roles::run(&args, context),
        Verb::Controller(_) => up::controller(context),
    }
}

/// The runtime of a verb that only talks to the controller.
fn simple_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
