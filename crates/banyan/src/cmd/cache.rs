//! `banyan cache`: what the app's cache holds, as its server tells.

use std::fmt::Write as _;
use std::time::Duration;

use banyan_config::{Purpose, Redis, RedisAddress};
use banyan_reconcile::proto::{Info, RedisState};
use banyan_reconcile::redis::audit::{self, Audit};
use banyan_reconcile::redis::counted::{Counted, counted};
use banyan_runtime::Clock;
use banyan_supervisor::engine::redis;
use serde_json::json;

use crate::cli::{Cache, CacheWish};
use crate::client::Client;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::amount;
use crate::render::error::advised;

pub(crate) fn run(args: &Cache, context: &Context) -> anyhow::Result<Exit> {
    match args.wish {
        CacheWish::Stats => super::simple_runtime()?.block_on(stats(context)),
        CacheWish::Audit { seconds } => {
            let length = Duration::from_secs(seconds);
            super::simple_runtime()?.block_on(audit(length, context))
        }
    }
}

async fn audit(length: Duration, context: &Context) -> anyhow::Result<Exit> {
    let address = address(context).await?;
    context.say(&format!("taking samples for {} s", length.as_secs()));
    let found = audit::audit(&address, Clock.unix_ms(), length).await;
    let found = found.map_err(|why| anyhow::anyhow!("the cache cannot be audited: {why}"))?;
    if found.sampled() == 0 {
        return Err(advised(
            anyhow::anyhow!(
                "nobody compared anything: no process read a cached entry meanwhile, or none uses the SDK"
            ),
            "send it some requests while this runs: docs/sdk.md".to_owned(),
        ));
    }
    if context.json {
        context.print_json(&found)?;
    } else {
        context.print(&judged(&found))?;
    }
    Ok(if found.wrong == 0 {
        Exit::Done
    } else {
        Exit::Findings
    })
}

/// Of the app's cache, ours or the user's own.
async fn address(context: &Context) -> anyhow::Result<RedisAddress> {
    let loaded = loading::load(&context.place)?;
    match loaded.config.redis.get(&Purpose::Cache) {
        Some(Redis::External(external)) => Ok(external.address(&loaded.secrets)?),
        _ => {
            let state = managed(context).await?;
            address_of(&state, context)
        }
    }
}

fn address_of(state: &RedisState, context: &Context) -> anyhow::Result<RedisAddress> {
    let secrets = context.place.state()?.secrets();
    Ok(redis::address(&secrets, Purpose::Cache, state.port)?)
}

fn judged(found: &Audit) -> String {
    let share = |count: u64| format!("{count} ({:.1} %)", 100.0 * count as f64 / found.sampled() as f64);
    let mut out = lines(&[
        ("sampled", found.sampled().to_string()),
        ("right", share(found.right)),
        ("late", share(found.late)),
        ("wrong", share(found.wrong)),
    ]);
    for key in &found.wrong_keys {
        writeln!(out, "wrong: {key}").expect("a String takes any text");
    }
    out
}

async fn managed(context: &Context) -> anyhow::Result<RedisState> {
    let command = context.place.command();
    let Some(client) = Client::connect(context).await? else {
        return Err(advised(
            anyhow::anyhow!("nothing runs here"),
            format!("`{command} up` starts it"),
        ));
    };
    let status = client.status(context).await?;
    let mut states = status.redis.into_iter();
    states
        .find(|state| state.purpose == Purpose::Cache)
        .ok_or_else(|| {
            advised(
                anyhow::anyhow!("Banyan runs no cache here"),
                format!("add a [cache] table to banyan.toml, then `{command} apply`"),
            )
        })
}

async fn stats(context: &Context) -> anyhow::Result<Exit> {
    let state = managed(context).await?;
    let Some(info) = &state.info else {
        let problem = state.problem.clone().unwrap_or_default();
        anyhow::bail!("the cache does not answer: {problem}");
    };
    // Without an answer now, what the server said a moment ago is still worth telling.
    let app = counted(&address_of(&state, context)?).await.unwrap_or_default();
    if context.json {
        let mut value = serde_json::to_value(info)?;
        value["hit_ratio"] = json!(info.hit_ratio());
        value["app"] = json!(app);
        context.print_json(&value)?;
    } else {
        context.print(&(table(info) + &of_app(&app)))?;
    }
    Ok(Exit::Done)
}

fn table(info: &Info) -> String {
    let ratio = info.hit_ratio().map_or_else(
        || "no reads yet".to_owned(),
        |ratio| format!("{:.1} %", ratio * 100.0),
    );
    let fill = info
        .fill()
        .map_or_else(String::new, |fill| format!(" ({:.0} %)", fill * 100.0));
    let (used, most) = (amount::bytes(info.used_bytes), amount::bytes(info.max_bytes));
    lines(&[
        ("hit ratio", ratio),
        ("hits, misses", format!("{}, {}", info.hits, info.misses)),
        ("memory", format!("{used} of {most}{fill}")),
        ("keys", format!("{} ({} expire)", info.keys, info.expiring_keys)),
        ("evicted, expired", format!("{}, {}", info.evicted, info.expired)),
        ("clients", info.clients.to_string()),
        ("eviction", info.policy.clone()),
        ("since", amount::age(Duration::from_secs(info.uptime_seconds))),
    ])
}

/// Nothing of an app without the SDK.
fn of_app(app: &Counted) -> String {
    if app.processes == 0 {
        return String::new();
    }
    let counts = |one: u64, other: u64| format!("{one}, {other}");
    let told = lines(&[
        ("hits, in memory", counts(app.hits, app.local_hits)),
        ("loads, without it", counts(app.loads, app.direct_loads)),
        (
            "loads at once",
            format!("{} at most, in one process", app.most_loads_at_once),
        ),
        ("waits, refused", counts(app.waits, app.refused)),
        (
            "told to forget",
            format!("{}, {} too late", app.invalidations, app.missed_invalidations),
        ),
    ]);
    format!(
        "by {} processes of the app, since each began:\n{told}",
        app.processes
    )
}

fn lines(lines: &[(&str, String)]) -> String {
    let mut out = String::new();
    for (name, value) in lines {
        writeln!(out, "{name:17} {value}").expect("a String takes any text");
    }
    out
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn the_table_names_what_a_cache_is_judged_by() {
        let info = Info {
            hits: 97,
            misses: 3,
            used_bytes: 100 << 20,
            max_bytes: 200 << 20,
            keys: 1200,
            expiring_keys: 1100,
            evicted: 5,
            policy: "allkeys-lfu".to_owned(),
            clients: 6,
            uptime_seconds: 200,
            ..Info::default()
        };
        expect![[r#"
            hit ratio         97.0 %
            hits, misses      97, 3
            memory            100 MiB of 200 MiB (50 %)
            keys              1200 (1100 expire)
            evicted, expired  5, 0
            clients           6
            eviction          allkeys-lfu
            since             3m 20s
        "#]]
        .assert_eq(&table(&info));
        assert_eq!(of_app(&Counted::default()), "");
        let app = Counted {
            processes: 2,
            hits: 90,
            loads: 8,
            direct_loads: 2,
            most_loads_at_once: 3,
            invalidations: 5,
            ..Counted::default()
        };
        expect![[r#"
            by 2 processes of the app, since each began:
            hits, in memory   90, 0
            loads, without it 8, 2
            loads at once     3 at most, in one process
            waits, refused    0, 0
            told to forget    5, 0 too late
        "#]]
        .assert_eq(&of_app(&app));
    }

    #[test]
    fn an_audit_names_what_is_wrong() {
        let found = Audit {
            right: 197,
            late: 2,
            wrong: 1,
            wrong_keys: vec!["user:7".to_owned()],
        };
        expect![[r#"
            sampled           200
            right             197 (98.5 %)
            late              2 (1.0 %)
            wrong             1 (0.5 %)
            wrong: user:7
        "#]]
        .assert_eq(&judged(&found));
    }
}
