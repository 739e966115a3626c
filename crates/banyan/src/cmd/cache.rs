//! `banyan cache`: what the app's cache holds, as its server tells.

use std::fmt::Write as _;
use std::time::Duration;

use banyan_config::Purpose;
use banyan_reconcile::proto::{Info, RedisState};
use serde_json::json;

use crate::cli::{Cache, CacheWish};
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::amount;
use crate::render::error::advised;

pub(crate) fn run(args: &Cache, context: &Context) -> anyhow::Result<Exit> {
    match args.wish {
        CacheWish::Stats => super::simple_runtime()?.block_on(stats(context)),
    }
}

async fn stats(context: &Context) -> anyhow::Result<Exit> {
    let command = context.place.command();
    let Some(client) = Client::connect(context).await? else {
        return Err(advised(
            anyhow::anyhow!("nothing runs here"),
            format!("`{command} up` starts it"),
        ));
    };
    let status = client.status(context).await?;
    let of = |state: &&RedisState| state.purpose == Purpose::Cache;
    let Some(state) = status.redis.iter().find(of) else {
        return Err(advised(
            anyhow::anyhow!("Banyan runs no cache here"),
            format!("add a [cache] table to banyan.toml, then `{command} apply`"),
        ));
    };
    let Some(info) = &state.info else {
        let problem = state.problem.clone().unwrap_or_default();
        anyhow::bail!("the cache does not answer: {problem}");
    };
    if context.json {
        let mut value = serde_json::to_value(info)?;
        value["hit_ratio"] = json!(info.hit_ratio());
        context.print_json(&value)?;
    } else {
        context.print(&table(info))?;
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
    let lines = [
        ("hit ratio", ratio),
        ("hits, misses", format!("{}, {}", info.hits, info.misses)),
        ("memory", format!("{used} of {most}{fill}")),
        ("keys", format!("{} ({} expire)", info.keys, info.expiring_keys)),
        ("evicted, expired", format!("{}, {}", info.evicted, info.expired)),
        ("clients", info.clients.to_string()),
        ("eviction", info.policy.clone()),
        ("since", amount::age(Duration::from_secs(info.uptime_seconds))),
    ];
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
    }
}
