//! redis.conf and the users of a Redis, as text.
//!
//! Settings by purpose: what is kept is written to an append-only file that is synced each second, and nothing is thrown
//! away; a cache is never written to the disk, since what would come back from there may be older than the database.

use std::collections::BTreeMap;
use std::path::Path;

use banyan_config::{Eviction, Purpose, RedisSetting};
use banyan_topology::Redis;
use sha2::{Digest, Sha256};

/// Whom Banyan itself logs in as.
pub(super) const ADMIN: &str = "banyan";
/// Whom the app logs in as. Libraries that know no users log in as this one.
pub(super) const APP: &str = "default";
/// Whom edges log in as, which count rate limits together where nothing is thrown away.
pub(super) const EDGE: &str = "banyan-edge";
pub(super) const USERS_FILE: &str = "users.acl";

/// What Banyan chooses otherwise than Redis does.
fn chosen(redis: &Redis) -> BTreeMap<&'static str, &'static str> {
    let mut chosen = BTreeMap::from([
        // Freeing a large value must not stop the others.
        ("lazyfree-lazy-eviction", "yes"),
        ("lazyfree-lazy-expire", "yes"),
        ("lazyfree-lazy-server-del", "yes"),
        ("tcp-keepalive", "60"),
    ]);
    if redis.eviction == Eviction::Lru {
        chosen.insert("maxmemory-samples", "10");
    }
    chosen
}

/// What a running server takes (`CONFIG SET`), whole: a setting that is no longer written gets back what it was.
pub(super) fn live(redis: &Redis) -> Vec<(&'static str, String)> {
    let mut live = effective(redis, |setting| !setting.at_start);
    live.push(("maxmemory", redis.data_bytes().to_string()));
    live.push(("maxmemory-policy", redis.eviction.policy().to_owned()));
    live
}

fn effective(redis: &Redis, wanted: impl Fn(&RedisSetting) -> bool) -> Vec<(&'static str, String)> {
    let chosen = chosen(redis);
    let value = |setting: &'static RedisSetting| {
        let own = redis.settings.get(setting.name).map(String::as_str);
        let ours = chosen.get(setting.name).copied();
        (setting.name, own.or(ours).unwrap_or(setting.default).to_owned())
    };
    let all = RedisSetting::ALL.iter();
    all.filter(|setting| wanted(setting)).map(value).collect()
}

pub(super) fn config_file(redis: &Redis, data: &Path) -> String {
    let keeps = if redis.purpose == Purpose::Sessions {
        "yes"
    } else {
        "no"
    };
    let data = data.display();
    let mut text = format!(
        "# Written by Banyan; change banyan.toml instead.\n\
         bind 127.0.0.1\nport {}\ndir \"{data}\"\naclfile \"{data}/{USERS_FILE}\"\n\
         daemonize no\nsave \"\"\nappendonly {keeps}\n",
        redis.port
    );
    let settings = live(redis)
        .into_iter()
        .chain(effective(redis, |setting| setting.at_start));
    for (name, value) in settings {
        let value = if value.is_empty() { "\"\"" } else { &value };
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

/// The users, their passwords as digests only.
///
/// The app may use all data, and nothing that is for administrators or stops the server for long (`KEYS`). A cache may be
/// emptied by it; of what is kept, `FLUSHALL` would log everybody out. `edge`: the password of edges, if they count there.
pub(super) fn users_file(purpose: Purpose, app: &str, admin: &str, edge: Option<&str>) -> String {
    let flush = match purpose {
        Purpose::Sessions => "",
        Purpose::Cache => " +flushdb +flushall",
    };
    let mut text = format!(
        "user {APP} on #{} ~* &* +@all -@admin -@dangerous +info +sort +sort_ro{flush}\n\
         user {ADMIN} on #{} ~* &* +@all\n",
        digest(app),
        digest(admin)
    );
    if let Some(password) = edge {
        text.push_str(&format!("user {EDGE} {}\n", edge_rules(password).join(" ")));
    }
    text
}

/// What edges may: run the one script that counts, over its own keys.
pub(super) fn edge_rules(password: &str) -> Vec<String> {
    let commands = [
        "+eval",
        "+evalsha",
        "+script|load",
        "+get",
        "+set",
        "+time",
        "+ping",
    ];
    let first = [
        "on".to_owned(),
        format!("#{}", digest(password)),
        "~banyan:limit:*".to_owned(),
    ];
    first.into_iter().chain(commands.map(str::to_owned)).collect()
}

fn digest(password: &str) -> String {
    let digest = Sha256::digest(password.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(purpose: Purpose) -> Redis {
        Redis {
            purpose,
            port: 6390,
            memory_bytes: 100 << 20,
            eviction: match purpose {
                Purpose::Sessions => Eviction::None,
                Purpose::Cache => Eviction::Fifo,
            },
            settings: BTreeMap::from([("databases".to_owned(), "4".to_owned())]),
        }
    }

    #[test]
    fn what_is_kept_is_written_and_a_cache_never() {
        let sessions = config_file(&redis(Purpose::Sessions), Path::new("/data/redis-sessions"));
        let says = |text: &str, line: &str| text.lines().any(|own| own == line);
        for line in [
            "bind 127.0.0.1",
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory 104857600",
            "maxmemory-policy noeviction",
            "databases 4",
            "notify-keyspace-events \"\"",
        ] {
            assert!(says(&sessions, line), "{line} in\n{sessions}");
        }
        let cache = config_file(&redis(Purpose::Cache), Path::new("/data/redis-cache"));
        for line in [
            "appendonly no",
            "save \"\"",
            "maxmemory 83886080",
            "maxmemory-policy volatile-ttl",
        ] {
            assert!(says(&cache, line), "{line} in\n{cache}");
        }
    }

    #[test]
    fn users_are_known_by_digests() {
        let text = users_file(Purpose::Sessions, "geheim", "geheimer", Some("am geheimsten"));
        assert!(!text.contains("geheim") && !text.contains("flush"), "{text}");
        assert!(text.contains("user banyan-edge on #"), "{text}");
        let cache = users_file(Purpose::Cache, "a", "b", None);
        assert!(cache.contains("+flushall") && !cache.contains(EDGE), "{cache}");
    }
}
