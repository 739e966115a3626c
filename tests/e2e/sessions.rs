//! People who are logged in stay so, whatever happens to the system: each visit says who it sees.

use std::sync::Arc;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::{Client, Failure};
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load};
use bytes::Bytes;
use http::{Method, Request, Response};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::scenario::{KILLED, reaped};
use crate::servers::row;

pub(crate) const MEMBERS: usize = 12;
const RATE: u32 = 60;
/// At once, on a machine that is too slow for them.
const MOST: usize = 20;

pub(crate) struct Member {
    pub(crate) name: String,
    cookie: String,
}

pub(crate) struct Members {
    client: Client,
    pub(crate) all: Vec<Member>,
}

impl Members {
    pub(crate) async fn log_in(installation: &Installation) -> Self {
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

    pub(crate) async fn ask(
        &self,
        member: &Member,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<Response<Bytes>, Failure> {
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header("cookie", &member.cookie)
            .header("content-type", "application/json");
        let body = Bytes::from(body.to_string());
        self.client.send(request.body(body).unwrap()).await
    }

    /// Who the site says that it sees; "": nobody.
    pub(crate) async fn seen(&self, member: &Member) -> Result<String, String> {
        let answer = self.ask(member, Method::GET, "/api/session", &Value::Null).await;
        let answer = answer.map_err(|failure| failure.to_string())?;
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
        Load::bounded(RATE, MOST, move |number| {
            let members = Arc::clone(&members);
            async move { members.visit(number).await }
        })
    }

    pub(crate) async fn visit(&self, number: u64) -> Answer {
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
    let out = members
        .ask(&gone, Method::DELETE, "/api/session", &Value::Null)
        .await
        .unwrap();
    assert_eq!(out.status(), 204);
    let members = Arc::new(members);
    let mut load = members.load();

    let (name, pid) = it.instances().await.remove(0);
    load.phase(format!("{KILLED}{name}"));
    kill(u64::from(pid));
    reaped(&it, pid).await;
    load.phase("it is started again");
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
    // A kill may cut what was on its way, nothing else may fail.
    let outside = report.failures_outside(KILLED);
    assert!(outside.is_empty(), "{outside:?}\n{}", it.logs());
    it.down().await;
}
