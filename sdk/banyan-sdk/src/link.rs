//! The way to the server of a URL: the one of that address, or the one that Sentinels name at the moment.
//!
//! `redis+sentinel://user:password@host:26379,host:26379/SERVICE/0`: each Sentinel is asked twice a second, and more than half of
//! those in the URL must name the same server. So one that is cut off, or late to hear of a failover, decides nothing. What is
//! asked for next goes to the server that they name; while they name none for three seconds, all fails as if Redis were away,
//! because what answers may be a server that was replaced.
//!
//! The redis crate's own client of Sentinels believes the first that answers, and its connections do not come back by themselves.
//!
//! Tasks: one that asks them. Limits: no TLS (a certificate tells a name, Sentinels tell addresses), Sentinels without passwords.

use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, RedisError, RedisResult,
};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::task::{self, Running};

const SCHEME: &str = "redis+sentinel://";
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_LIMIT: Duration = Duration::from_millis(400);
/// Sentinels take longer than that to agree on a failover.
const TRUSTED: Duration = Duration::from_secs(3);
/// Until they are first heard.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
const SENTINEL_PORT: u16 = 26379;
/// No file can be below it: each use fails at once.
const NOWHERE: &str = "/dev/null/the-sentinels-name-no-server";

/// Connects when first used.
pub(crate) enum Link {
    One {
        client: Box<Client>,
        manager: ConnectionManager,
    },
    Named {
        current: watch::Receiver<Current>,
        _asks: Running,
    },
}

/// A server's address as Sentinels tell it.
type Place = (String, u16);

#[derive(Clone)]
pub(crate) struct Current {
    manager: ConnectionManager,
    /// Sentinels were heard, or not in time.
    is_settled: bool,
}

impl Link {
    /// Of Sentinels it must be called in a runtime.
    pub(crate) fn open(url: &str, config: ConnectionManagerConfig) -> RedisResult<Self> {
        let Some(wanted) = Wanted::parse(url)? else {
            let client = Box::new(Client::open(url)?);
            let manager = ConnectionManager::new_lazy_with_config((*client).clone(), config)?;
            return Ok(Self::One { client, manager });
        };
        let Wanted { sentinels, door } = wanted;
        let to = move |place: Option<&Place>| door.manager(place, config.clone());
        let (told, current) = watch::channel(Current {
            manager: to(None)?,
            is_settled: false,
        });
        let asks = task::start_if_possible(follow(sentinels, to, told));
        Ok(Self::Named {
            current,
            _asks: asks.ok_or_else(|| wrong("Sentinels are followed in a runtime only: call this in one"))?,
        })
    }

    /// Each use fails while Sentinels name no server.
    pub(crate) fn manager(&self) -> ConnectionManager {
        match self {
            Self::One { manager, .. } => manager.clone(),
            Self::Named { current, .. } => current.borrow().manager.clone(),
        }
    }

    /// For connections of one's own. `None`: the server moves.
    pub(crate) fn client(&self) -> Option<&Client> {
        match self {
            Self::One { client, .. } => Some(client),
            Self::Named { .. } => None,
        }
    }

    /// Waits until Sentinels were heard, a second at most.
    pub(crate) async fn settle(&self) {
        if let Self::Named { current, .. } = self {
            let mut current = current.clone();
            let heard = current.wait_for(|current| current.is_settled);
            // Who asks sees what there is.
            timeout(FIRST_LIMIT, heard).await.ok();
        }
    }
}

fn wrong(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, what))
}

/// Whom a URL names.
struct Wanted {
    sentinels: Vec<Sentinel>,
    door: Door,
}

/// How a server is spoken to, wherever it is.
struct Door(ConnectionInfo);

impl Wanted {
    /// `None`: it names a server itself.
    fn parse(url: &str) -> RedisResult<Option<Self>> {
        let Some(rest) = url.strip_prefix(SCHEME) else {
            return Ok(None);
        };
        let (account, rest) = rest
            .rsplit_once('@')
            .map_or(("", rest), |(account, rest)| (account, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, database) = path.split_once('/').unwrap_or((path, "0"));
        if service.is_empty() {
            return Err(wrong(
                "the URL does not name the service that the Sentinels watch",
            ));
        }
        let sentinels = hosts.split(',').map(|host| Sentinel::new(host, service));
        let server = format!("redis://{account}@nowhere/{database}");
        Ok(Some(Self {
            sentinels: sentinels.collect::<RedisResult<_>>()?,
            door: Door(server.into_connection_info()?),
        }))
    }
}

impl Door {
    fn manager(
        &self,
        place: Option<&Place>,
        config: ConnectionManagerConfig,
    ) -> RedisResult<ConnectionManager> {
        let address = match place {
            Some((host, port)) => ConnectionAddr::Tcp(host.clone(), *port),
            None => ConnectionAddr::Unix(NOWHERE.into()),
        };
        ConnectionManager::new_lazy_with_config(Client::open(self.0.clone().set_addr(address))?, config)
    }
}

async fn follow(
    mut sentinels: Vec<Sentinel>,
    to: impl Fn(Option<&Place>) -> RedisResult<ConnectionManager>,
    told: watch::Sender<Current>,
) {
    let mut seen = Seen::new(Instant::now());
    let mut turn = interval(ASK_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let answers = join_all(sentinels.iter_mut().map(Sentinel::named)).await;
        let changed = seen.hear(agreed(&answers), Instant::now());
        if changed {
            match &seen.place {
                Some((host, port)) => tracing::info!(host, port, "the Sentinels name this Redis"),
                None => tracing::warn!("the Sentinels name no Redis: it counts as away"),
            }
        }
        told.send_if_modified(|current| {
            let manager = changed.then(|| to(seen.place.as_ref()).ok()).flatten();
            let is_news = manager.is_some() || !current.is_settled;
            current.is_settled = true;
            if let Some(manager) = manager {
                current.manager = manager;
            }
            is_news
        });
    }
}

/// What more than half of all say, also of those that say nothing.
fn agreed(answers: &[Option<Place>]) -> Option<Place> {
    let votes = |place: &Place| answers.iter().flatten().filter(|other| *other == place).count();
    let place = answers.iter().flatten().max_by_key(|place| votes(place))?;
    (2 * votes(place) > answers.len()).then(|| place.clone())
}

/// Where the server is believed to be.
struct Seen {
    place: Option<Place>,
    confirmed: Instant,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            place: None,
            confirmed: now,
        }
    }

    /// Whether that changed `place`.
    fn hear(&mut self, agreed: Option<Place>, now: Instant) -> bool {
        match &agreed {
            Some(_) => self.confirmed = now,
            None if now.duration_since(self.confirmed) < TRUSTED => return false,
            None => {}
        }
        let changed = self.place != agreed;
        self.place = agreed;
        changed
    }
}

struct Sentinel {
    client: Client,
    service: String,
    connection: Option<MultiplexedConnection>,
}

impl Sentinel {
    fn new(host: &str, service: &str) -> RedisResult<Self> {
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port {
            format!("redis://{host}")
        } else {
            format!("redis://{host}:{SENTINEL_PORT}")
        };
        Ok(Self {
            client: Client::open(address)?,
            service: service.to_owned(),
            connection: None,
        })
    }

    /// The server that it names; `None`: none, or it is away.
    async fn named(&mut self) -> Option<Place> {
        let Ok(Ok(place)) = timeout(ANSWER_LIMIT, self.ask()).await else {
            self.connection = None;
            return None;
        };
        place
    }

    async fn ask(&mut self) -> RedisResult<Option<Place>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(self.client.get_multiplexed_async_connection().await?),
        };
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(&self.service);
        command.query_async(connection).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Option<Place> {
        (!text.is_empty()).then(|| (text.to_owned(), 6379))
    }

    #[test]
    fn more_than_half_of_all_decide() {
        for (answers, expected) in [
            (&["a"][..], "a"),
            (&[""], ""),
            (&["a", "a", "b"], "a"),
            (&["b", "a", "a"], "a"),
            (&["a", "", "a"], "a"),
            (&["a", "", ""], ""),
            (&["a", "b"], ""),
            (&["a", "a", "b", "b"], ""),
            (&["", "", ""], ""),
        ] {
            let answers: Vec<_> = answers.iter().map(|answer| place(answer)).collect();
            assert_eq!(agreed(&answers), place(expected), "{answers:?}");
        }
    }

    #[test]
    fn a_server_is_trusted_for_three_seconds_after_it_was_named() {
        let start = Instant::now();
        let mut seen = Seen::new(start);
        // Milliseconds, what the Sentinels agree on; whether that is news, and what is believed then.
        for (at, agreed, is_news, believed) in [
            (0, "", false, ""),
            (500, "a", true, "a"),
            (1000, "a", false, "a"),
            (3900, "", false, "a"),
            (4000, "", true, ""),
            (4500, "", false, ""),
            (5000, "b", true, "b"),
            (5500, "a", true, "a"),
        ] {
            let now = start + Duration::from_millis(at);
            assert_eq!(seen.hear(place(agreed), now), is_news, "at {at}");
            assert_eq!(seen.place, place(believed), "at {at}");
        }
    }

    #[test]
    fn urls_of_sentinels_are_taken_apart() {
        let wanted = Wanted::parse("redis+sentinel://app:s%40cret@one,[::1]:7,two:26380/main/3")
            .unwrap()
            .unwrap();
        let addresses = wanted.sentinels.iter().map(|sentinel| {
            let info = sentinel.client.get_connection_info();
            format!("{} {}", info.addr(), sentinel.service)
        });
        let addresses: Vec<_> = addresses.collect();
        assert_eq!(addresses, ["one:26379 main", "::1:7 main", "two:26380 main"]);
        let server = wanted.door.0.redis_settings();
        assert_eq!(
            (server.username(), server.password(), server.db()),
            (Some("app"), Some("s@cret"), 3)
        );
        assert!(Wanted::parse("redis://one/0").unwrap().is_none());
        for url in [
            "redis+sentinel://one",
            "redis+sentinel://one/",
            "redis+sentinel:///main",
            "redis+sentinel://one,,two/main",
        ] {
            assert!(Wanted::parse(url).is_err(), "{url}");
        }
    }
}
