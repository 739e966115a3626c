//! `photos`: a small photo-sharing site with the RealWorld (Conduit) API, the sample app of Banyan.
//!
//! Of Banyan it imports the SDK only, and knows what any app knows: PORT, HOST, DATABASE_URL, REDIS_CACHE_URL, BANYAN_DATA_DIR,
//! SIGTERM, `/healthz` and `/readyz`.

mod api;
mod auth;
mod cached;
mod dice;
mod error;
mod fellows;
mod ids;
mod media;
mod seed;
mod serve;
mod settings;
mod slug;
mod store;
mod web;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::Settings;

#[derive(Debug, Parser)]
#[command(version, about = "A small photo-sharing site with the RealWorld API")]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve HTTP on HOST:PORT until SIGTERM (the default)
    Serve,
    /// Bring the database's schema up to date; safe to run from several places at once
    Migrate(Migrate),
    /// Fill the database with users, follows, posts, likes and comments; the same numbers make the same rows
    Seed(seed::Amounts),
}

#[derive(Debug, Args)]
struct Migrate {
    /// Then fill the database with demo data if it has no user at all; their password is public
    #[arg(long)]
    demo: bool,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    #[error("failed to migrate the database: {0}")]
    Migrate(#[from] store::migrate::MigrateError),
    #[error("failed to seed the database: {0}")]
    Seed(#[from] seed::SeedError),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(settings::log_filter())
        .with_ansi(false)
        .init();
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let settings = Settings::from_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(serve::ServeError::Runtime)?;
    runtime.block_on(async {
        match &cli.verb {
            None | Some(Verb::Serve) => serve::run(settings).await?,
            Some(Verb::Migrate(Migrate { demo })) => {
                store::migrate::run(settings.database()).await?;
                if *demo && let Some(made) = seed::demo(settings.database()).await? {
                    report(&made);
                }
            }
            Some(Verb::Seed(amounts)) => report(&seed::run(settings.database(), amounts).await?),
        }
        Ok(())
    })
}

#[expect(clippy::print_stdout, reason = "what was made is the command's output")]
fn report(made: &seed::Made) {
    println!("{made}");
}
