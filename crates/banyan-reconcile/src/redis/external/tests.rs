//! A server, Sentinels and a Cluster as they are.

use banyan_testkit::{Port, Redis, wait};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn parsed(url: &str) -> RedisAddress {
    RedisAddress::parse(url).unwrap()
}

async fn told(url: &str) -> Result<Info, String> {
    info(&parsed(url), LIMIT).await
}

#[tokio::test]
async fn sentinels_say_where_the_server_is_and_one_that_is_away_is_passed_over() {
    let server = Redis::start_with(&["maxmemory 8mb", "maxmemory-policy allkeys-lru"]).unwrap();
    let sentinel = Redis::sentinel("main", &server).unwrap();
    let away = Port::free();
    let of = |password: &str, service: &str| {
        let (away, there) = (away.number(), sentinel.port());
        format!("redis+sentinel://default:{password}@127.0.0.1:{away},127.0.0.1:{there}/{service}/0")
    };
    let url = of(server.password(), "main");
    let found = told(&url).await.unwrap();
    assert_eq!((found.policy.as_str(), found.max_bytes), ("allkeys-lru", 8 << 20));
    assert_eq!(unfit(Purpose::Cache, &found), None);
    let pong = ask(&parsed(&url), &["ECHO", "by the server"]).await.unwrap();
    assert_eq!(pong, Reply::Text("by the server".to_owned()));
    let unknown = told(&of(server.password(), "other")).await.unwrap_err();
    assert!(unknown.ends_with("it watches no service `other`"), "{unknown}");
    let refused = told(&of("wrong", "main")).await.unwrap_err();
    assert!(
        refused.contains("WRONGPASS") && !refused.contains("wrong@"),
        "{refused}"
    );
}

/// Three processes that know each other; each has a third of the slots.
struct Cluster {
    nodes: Vec<Redis>,
    _ports: Vec<Port>,
}

impl Cluster {
    fn start() -> Self {
        let ports: Vec<Port> = (0..3).map(|_| Port::free()).collect();
        let node = |port: &Port| {
            let bus = format!("cluster-port {}", port.number());
            let settings = ["cluster-enabled yes", "cluster-node-timeout 1000", &bus];
            Redis::start_with(&settings).unwrap()
        };
        let nodes: Vec<Redis> = ports.iter().map(node).collect();
        for (node, (first, last)) in nodes.iter().zip([(0, 5460), (5461, 10922), (10923, 16383)]) {
            let (first, last) = (first.to_string(), last.to_string());
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])
                .unwrap();
        }
        for (node, bus) in nodes.iter().zip(&ports).skip(1) {
            let (port, bus) = (node.port().to_string(), bus.number().to_string());
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
            assert_eq!(nodes[0].command(&meet).unwrap(), "OK");
        }
        Self { nodes, _ports: ports }
    }

    /// By one node: each has a password of its own here.
    fn url(&self, node: usize) -> String {
        let node = &self.nodes[node];
        format!(
            "redis+cluster://default:{}@127.0.0.1:{}",
            node.password(),
            node.port()
        )
    }
}

#[tokio::test]
async fn a_cluster_is_well_while_it_is_whole() {
    let mut cluster = Cluster::start();
    let url = cluster.url(1);
    let whole = wait::until("a whole Cluster", LIMIT, async || told(&url).await.map(drop));
    whole.await.unwrap();
    let refused = ask(&parsed(&url), &["PING"]).await.unwrap_err();
    assert_eq!(refused, "the SDK's cache is in one server, and this is a Cluster");
    cluster.nodes[2].kill();
    let broken = wait::until("a Cluster that lacks a node", LIMIT, async || {
        match told(&url).await {
            Ok(_) => Err("whole".to_owned()),
            Err(why) => Ok(why),
        }
    });
    let why = broken.await.unwrap();
    assert!(why.ends_with("the Cluster is not whole (cluster_state)"), "{why}");
}
