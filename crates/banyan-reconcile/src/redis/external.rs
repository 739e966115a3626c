//! Asks a Redis of the user's own how it is: one server, by TLS too, the one that Sentinels name, or a node of a Cluster.

use std::time::Duration;

use banyan_config::{Config, Purpose, Redis, RedisAddress, RedisKind, Secrets};
use banyan_supervisor::engine::redis::Info;
use banyan_supervisor::engine::redis::client::{Client, ClientError, Reply};
use banyan_tls::client::{self as tls, Trust};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Debian's list of public authorities.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A plan must not wait for long.
const PLAN_LIMIT: Duration = Duration::from_secs(2);
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// What people should know of those of a configuration, before the app depends on them.
pub(crate) async fn notes(config: &Config, secrets: &Secrets) -> Vec<String> {
    let mut notes = Vec::new();
    for (purpose, redis) in &config.redis {
        let Redis::External(external) = redis else {
            continue;
        };
        // Refused when the configuration is read.
        let Ok(address) = external.address(secrets) else {
            continue;
        };
        let trouble = match info(&address, PLAN_LIMIT).await {
            Ok(info) => unfit(*purpose, &info),
            Err(why) => Some(why),
        };
        notes.extend(trouble.map(|why| format!("{purpose}.url ({address:?}): {why}")));
    }
    notes
}

/// `Err`: why not, in words without the password. Of several hosts the first that lets us in counts.
pub async fn info(address: &RedisAddress, limit: Duration) -> Result<Info, String> {
    within(limit, async {
        let (place, mut client) = first(address).await?;
        let told = of_server(address, &mut client).await;
        told.map_err(|why| format!("{place}: {why}"))
    })
    .await
}

/// One command, by the app's user. Not for a Cluster, whose nodes have some of the keys each.
pub(super) async fn ask(address: &RedisAddress, command: &[&str]) -> Result<Reply, String> {
    if address.kind == RedisKind::Cluster {
        return Err("the SDK's cache is in one server, and this is a Cluster".to_owned());
    }
    within(ASK_LIMIT, async {
        let (_, mut client) = first(address).await?;
        client.ask(command).await.map_err(|error| words(&error))
    })
    .await
}

async fn within<T>(limit: Duration, asked: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_elapsed| Err(format!("no answer within {limit:?}"));
    tokio::time::timeout(limit, asked).await.unwrap_or_else(late)
}

pub(super) fn texts(reply: Reply) -> Vec<String> {
    let Reply::List(items) = reply else {
        return Vec::new();
    };
    let text = |item| match item {
        Reply::Text(text) => text,
        _ => String::new(),
    };
    items.into_iter().map(text).collect()
}

/// With its host and port.
async fn first(address: &RedisAddress) -> Result<(String, Client<Box<dyn Stream>>), String> {
    let mut last = "it names no host".to_owned();
    for (host, port) in &address.hosts {
        let found = match &address.kind {
            RedisKind::Single | RedisKind::Cluster => Ok((host.clone(), *port)),
            RedisKind::Sentinel { service } => master(address, host, *port, service).await,
        };
        let let_in = match found {
            Ok((host, port)) => logged_in(address, &host, port).await,
            Err(why) => Err(why),
        };
        let place = format!("{host}:{port}");
        match let_in {
            Ok(client) => return Ok((place, client)),
            Err(why) => last = format!("{place}: {why}"),
        }
    }
    Err(last)
}

/// Where these Sentinels say that the server is. They are asked without a password, as most are.
async fn master(
    address: &RedisAddress,
    host: &str,
    port: u16,
    service: &str,
) -> Result<(String, u16), String> {
    let command = ["SENTINEL", "get-master-addr-by-name", service];
    let mut client = connect(address, host, port).await?;
    match client.ask(&command).await.map_err(|error| words(&error))? {
        Reply::List(items) => match items.as_slice() {
            [Reply::Text(host), Reply::Text(port)] => {
                let port = port.parse().map_err(|_| "it names no port".to_owned())?;
                Ok((host.clone(), port))
            }
            _ => Err("it does not say where the server is".to_owned()),
        },
        _ => Err(format!("it watches no service `{service}`")),
    }
}

async fn of_server(address: &RedisAddress, client: &mut Client<Box<dyn Stream>>) -> Result<Info, String> {
    let text = client.text(&["INFO"]).await.map_err(|error| words(&error))?;
    if address.kind == RedisKind::Cluster {
        let state = client.text(&["CLUSTER", "INFO"]).await;
        let state = state.map_err(|error| words(&error))?;
        if !state.contains("cluster_state:ok") {
            return Err("the Cluster is not whole (cluster_state)".to_owned());
        }
    }
    Ok(Info::parse(&text))
}

async fn logged_in(address: &RedisAddress, host: &str, port: u16) -> Result<Client<Box<dyn Stream>>, String> {
    let mut client = connect(address, host, port).await?;
    let logged_in = client.log_in(&address.user, &address.password).await;
    logged_in.map_err(|error| words(&error))?;
    Ok(client)
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn connect(address: &RedisAddress, host: &str, port: u16) -> Result<Client<Box<dyn Stream>>, String> {
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| error.to_string())?;
    if !address.tls {
        return Ok(Client::new(Box::new(stream)));
    }
    let trust = Trust::Bundle(AUTHORITIES.as_ref());
    let stream = tls::connect(stream, host, trust, &[]).await;
    let stream = stream.map_err(|error| format!("TLS: {error}"))?;
    Ok(Client::new(Box::new(stream)))
}

/// The cause, too.
fn words(error: &ClientError) -> String {
    match error {
        ClientError::Io(cause) => format!("{error}: {cause}"),
        other => other.to_string(),
    }
}

/// Why such a server does not do for this purpose; `None`: it does.
pub fn unfit(purpose: Purpose, info: &Info) -> Option<String> {
    let policy = &info.policy;
    if info.role == "slave" {
        return Some("it is a replica: writes are refused there".to_owned());
    }
    match purpose {
        Purpose::Sessions if policy != "noeviction" => Some(format!(
            "maxmemory-policy is {policy}: when it is full it throws sessions away; set noeviction"
        )),
        Purpose::Cache if policy == "noeviction" && info.max_bytes > 0 => Some(
            "maxmemory-policy is noeviction: when it is full it keeps nothing new; set allkeys-lfu"
                .to_owned(),
        ),
        Purpose::Cache if info.max_bytes == 0 => {
            Some("it has no maxmemory: it grows until the machine is full; set one".to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
