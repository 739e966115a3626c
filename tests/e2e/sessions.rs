//! People who are logged in stay so, whatever happens to the system: each visit says who it sees.

use std::sync::Arc;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::{Client, Failure};
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load};
use bytes::Bytes;
use http::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::servers::row;

const MEMBERS: usize = 12;
const RATE: u32 = 60;

struct Member {
    name: String,
    cookie: String,
}

struct Members {
    client: Client,
    all: Vec<Member>,
}

impl Members {
    async fn log_in(installation: &Installation) -> Self {
        let client = installation.client();
        let mut all = Vec::new();
        for number in 0..MEMBERS {
            let name = format!("member{number}");
            let user = json!({"user": {"username": name, "email": format!("{name}@x.test"), "password": "long enough"}});
            let joined = client
                .json(Method::POST, "/api/users", None, &user)
                .await
                .unwrap();
            assert_eq!(joined.status(), 201, "{joined:?}");
            let entered = client
                .json(Method::POST, "/api/session", None, &user)
                .await
                .unwrap();
            assert_eq!(entered.status(), 200, "{entered:?}");
            let cookie = entered.headers()["set-cookie"].to_str().unwrap();
            let cookie = cookie.split(';').next().unwrap().to_owned();
            all.push(Member { name, cookie });
        }
        Self { client, all }
    }

    /// Who the site says that it sees; "": nobody.
    async fn seen(&self, member: &Member) -> Result<String, String> {
        let request = Request::get("/api/session").header("cookie", &member.cookie);
        let answer = self.client.send(request.body(Bytes::new()).unwrap()).await;
        let answer = answer.map_err(|failure: Failure| failure.to_string())?;
        match answer.status().as_u16() {
            200 => {
                let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
                Ok(body["user"]["username"].as_str().unwrap_or_default().to_owned())
            }
            204 | 401 => Ok(String::new()),
            other => Err(other.to_string()),
        }
    }

    fn load(self: &Arc<Self>) -> Load {
        let members = Arc::clone(self);
        Load::start(RATE, move |number| {
            let members = Arc::clone(&members);
            async move { members.visit(number).await }
        })
    }

    async fn visit(&self, number: u64) -> Answer {
        let member = &self.all[usize::try_from(number).unwrap() % self.all.len()];
        let (kind, outcome, detail) = match self.seen(member).await {
            Ok(name) if name == member.name => ("visit", Outcome::Acknowledged, String::new()),
            Ok(name) => (
                "logged out",
                Outcome::Unknown,
                format!("{} is {name:?}", member.name),
            ),
            Err(failure) => ("visit", Outcome::Unknown, failure),
        };
        Answer {
            kind,
            outcome,
            detail,
        }
    }
}

fn set(manifest: &mut Manifest, tables: &[&str]) {
    manifest.more = tables.iter().map(|line| (*line).to_owned()).collect();
}

fn kill(pid: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_logged_out_by_kills_deploys_and_the_move_of_sessions_to_redis_and_back_under_load() {
    let mut it = Installation::new(Manifest::photos(3).process("stop_grace = \"5s\""));
    it.up().await;
    let mut members = Members::log_in(&it).await;
    let gone = members.all.pop().unwrap();
    let out = Request::delete("/api/session").header("cookie", &gone.cookie);
    let out = members
        .client
        .send(out.body(Bytes::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(out.status(), 204);
    let members = Arc::new(members);
    let mut load = members.load();

    load.phase("an instance is killed");
    let (_, pid) = it.instances().await.remove(0);
    kill(u64::from(pid));
    it.settled().await;
    load.phase("3 → 4 instances");
    it.apply(|manifest| manifest.count = 4).await;
    load.phase("a deploy");
    it.verb(&["deploy"]).await;
    load.phase("sessions in Redis");
    it.apply(|manifest| set(manifest, &["[sessions]"])).await;
    load.phase("and a cache");
    it.apply(|manifest| set(manifest, &["[sessions]", "[cache]"]))
        .await;
    load.phase("Redis of sessions is killed");
    let redis = row(&it, "redis sessions").await.unwrap();
    kill(redis["pid"].as_u64().unwrap());
    it.settled().await;
    load.phase("another deploy");
    it.verb(&["deploy"]).await;
    load.phase("back: no Redis");
    it.apply(|manifest| set(manifest, &[])).await;
    load.phase("4 → 2 instances");
    it.apply(|manifest| manifest.count = 2).await;
    for member in &members.all {
        assert_eq!(members.seen(member).await.unwrap(), member.name);
    }
    assert_eq!(members.seen(&gone).await.unwrap(), "", "who logged out stays so");
    let report = load.stop().await;
    println!("{report}");
    let failures = report.failures();
    assert!(
        failures.iter().all(|sample| sample.answer.kind != "logged out"),
        "{}\n{}",
        report.explain(20),
        it.logs()
    );
    // A kill may cut an answer that had begun, nothing else may fail.
    assert!(failures.len() <= 3, "{}\n{}", report.explain(20), it.logs());
    it.down().await;
}
