//! `banyan advise`: what observe has measured and what banyan.toml declares, judged.

use std::time::Duration;

use anyhow::anyhow;
use banyan_capacity::advise::{LEAST, Measured, Standing, advise};
use banyan_config::{Config, Database, Purpose};
use banyan_observe::usage::{Usage, Wanted};
use banyan_observe::usage_socket;
use banyan_reconcile::proto::Status;
use banyan_runtime::control::Connection;
use banyan_topology::signals::Signals;

use crate::cli::advise::Advise;
use crate::client::Client;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render;
use crate::render::error::advised;

/// So much less than asked for counts as that much: figures come each ten seconds.
const SLACK: Duration = Duration::from_secs(20);

pub(crate) fn run(args: &Advise, context: &Context) -> anyhow::Result<Exit> {
    let config = loading::load(&context.place)?.config;
    let (status, usage, signals) = super::simple_runtime()?.block_on(async {
        let status = Client::required(context).await?.status(context).await?;
        let usage = ask(args.over, context).await?;
        anyhow::Ok((status, usage, signals(context).await))
    })?;
    let standing = standing(&config, &status);
    let measured = measured(&usage, signals.as_ref());
    let least = LEAST.min(args.over).saturating_sub(SLACK);
    let advice = advise(standing, &measured, least).map_err(|error| {
        let next =
            "let the system serve its users for a while; `--over 10m` judges a shorter time, for load tests";
        advised(anyhow!(error), next.to_owned())
    })?;
    if context.json {
        context.print_json(
            &serde_json::json!({ "standing": standing, "measured": measured, "advice": advice }),
        )?;
    } else {
        context.print(&render::advise::page(
            &config,
            standing,
            &measured,
            &advice,
            context.paint,
        ))?;
    }
    Ok(match advice.next {
        Some(_) => Exit::Findings,
        None => Exit::Done,
    })
}

async fn ask(over: Duration, context: &Context) -> anyhow::Result<Usage> {
    let banyan = context.place.command();
    let absent = || {
        anyhow!("observe does not run here: `{banyan} up` starts it, unless [observe] has enabled = false")
    };
    let socket = usage_socket(context.place.state()?.path());
    let mut connection = Connection::connect(&socket).await.map_err(|_nobody| absent())?;
    let seconds = over.as_secs();
    connection.send(&Wanted { seconds }).await?;
    connection.receive().await?.ok_or_else(absent)
}

/// `None`: there is no proxy.
async fn signals(context: &Context) -> Option<Signals> {
    let socket = context.place.state().ok()?.signals_socket();
    let mut connection = Connection::connect(&socket).await.ok()?;
    connection.receive().await.ok().flatten()
}

/// What is declared; instances as they run.
fn standing(config: &Config, status: &Status) -> Standing {
    let edge = config.edge.as_ref();
    let process = edge.map(|edge| &edge.process);
    let served = |id: &&banyan_topology::InstanceId| process.is_some_and(|process| id.process == *process);
    let table = process.and_then(|process| config.processes.get(process));
    let managed = match &config.database {
        Some(Database::Managed(managed)) => Some(managed),
        _ => None,
    };
    Standing {
        instances: u32::try_from(status.rotation.iter().filter(served).count()).unwrap_or(u32::MAX),
        scaled: table.is_some_and(|table| table.settings.scale.is_some()),
        own_database: managed.is_some(),
        replicas: managed.map_or(0, |managed| managed.replicas),
        cache: config.redis.contains_key(&Purpose::Cache),
        cdn: edge.is_some_and(|edge| edge.settings.cache.is_some()),
    }
}

fn measured(usage: &Usage, signals: Option<&Signals>) -> Measured {
    Measured {
        over: Duration::from_secs_f64(usage.seconds.max(0.0)),
        requests: usage.requests,
        rate: usage.rate,
        rate_busy: usage.rate_busy,
        p95: usage.p95_seconds,
        refused: (usage.requests > 0.0).then(|| usage.refused / usage.requests),
        cores: usage.cores,
        machine: usage.machine_busy,
        app: usage.app_busy,
        database: usage.database_busy,
        movable: signals.and_then(|signals| signals.movable_share),
        sent: usage.sent,
    }
}
