//! The sample site as its users see it: one author, one post, reads, and comments that carry a ledger's id.

use std::sync::Arc;

use banyan_testkit::http::{Client, Failure};
use banyan_testkit::ledger::{Ledger, Outcome, Verdict};
use banyan_testkit::load::{Answer, Load};
use banyan_testkit::postgres;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::Installation;

const COMMENT: &str = "ledger ";

/// A logged-in author with one post, and the record of all comments written through it.
#[derive(Debug)]
pub struct Site {
    client: Client,
    token: String,
    slug: String,
    ledger: Ledger,
}

impl Site {
    pub async fn open(installation: &Installation) -> Arc<Self> {
        let client = installation.client();
        let user = json!({ "user": { "username": "ledger", "email": "ledger@example.test", "password": "long enough" } });
        let user = post(&client, "/api/users", None, &user).await;
        let token = user["user"]["token"].as_str().expect("a token").to_owned();
        let article =
            json!({ "article": { "title": "Ledger", "description": "d", "body": "b", "tagList": ["t"] } });
        let article = post(&client, "/api/articles", Some(&token), &article).await;
        let slug = article["article"]["slug"].as_str().expect("a slug").to_owned();
        Arc::new(Self {
            client,
            token,
            slug,
            ledger: Ledger::default(),
        })
    }

    /// One write for four reads, `per_second` in all, and not more at once than come in a sixth of a second.
    pub fn load(self: &Arc<Self>, per_second: u32) -> Load {
        let site = Arc::clone(self);
        let most = per_second.div_ceil(6) as usize;
        Load::bounded(per_second, most, move |number| {
            let site = Arc::clone(&site);
            async move {
                match number % 5 {
                    0 => site.comment(number).await,
                    1 | 3 => site.read(&format!("/api/articles/{}", site.slug)).await,
                    2 => site.read("/api/articles?limit=5").await,
                    _ => site.read("/api/tags").await,
                }
            }
        })
    }

    async fn read(&self, path: &str) -> Answer {
        judge("read", path, self.client.get(path).await)
    }

    async fn comment(&self, number: u64) -> Answer {
        let id = format!("{COMMENT}{number}");
        self.ledger.begin(&id);
        let path = format!("/api/articles/{}/comments", self.slug);
        let body = json!({ "comment": { "body": id } });
        let answer = self
            .client
            .json(Method::POST, &path, Some(&self.token), &body)
            .await;
        let answer = judge("write", &path, answer);
        self.ledger.settle(&id, answer.outcome);
        answer
    }

    /// The status of a GET of the post.
    pub async fn read_post(&self, installation: &Installation) -> u16 {
        let answer = installation
            .client()
            .get(&format!("/api/articles/{}", self.slug))
            .await
            .unwrap();
        answer.status().as_u16()
    }

    /// Compares the ledger with the rows of the database, whose address an instance knows.
    pub async fn verdict(&self, installation: &Installation) -> Verdict {
        let (_, pid) = installation
            .instances()
            .await
            .into_iter()
            .next()
            .expect("an instance runs");
        let database = postgres::connect(&database_url(pid))
            .await
            .expect("the database is reachable");
        let rows = database
            .query("SELECT body FROM comments", &[])
            .await
            .expect("the comments can be read");
        self.ledger.judge(rows.iter().map(|row| row.get::<_, String>(0)))
    }
}

async fn post(client: &Client, path: &str, token: Option<&str>, body: &Value) -> Value {
    let answer = client.json(Method::POST, path, token, body).await.unwrap();
    assert!(
        answer.status().is_success(),
        "POST {path}: {} {:?}",
        answer.status(),
        answer.body()
    );
    serde_json::from_slice(answer.body()).unwrap()
}

/// How a request ended: 503 is the edge's "no instance was there to send it to"; a 4xx is the app's own no. What a 500, 502 or 504 did nobody knows.
pub fn judge(kind: &'static str, path: &str, answer: Result<Response<Bytes>, Failure>) -> Answer {
    let (outcome, detail) = match answer {
        Ok(answer) => {
            let status = answer.status();
            let outcome = match status {
                status if status.is_success() => Outcome::Acknowledged,
                StatusCode::SERVICE_UNAVAILABLE => Outcome::Refused,
                status if status.is_client_error() => Outcome::Refused,
                _ => Outcome::Unknown,
            };
            (
                outcome,
                format!("{status} to {path}: {}", String::from_utf8_lossy(answer.body())),
            )
        }
        Err(Failure::NotSent(reason)) => (Outcome::Refused, format!("{path}: {reason}")),
        Err(Failure::NoAnswer(reason)) => (Outcome::Unknown, format!("{path}: {reason}")),
    };
    let detail = if outcome == Outcome::Acknowledged {
        String::new()
    } else {
        detail
    };
    Answer {
        kind,
        outcome,
        detail,
    }
}

/// As the app got it: the environment of a process can be read by root and by its own user.
pub fn database_url(pid: u32) -> String {
    variable(pid, "DATABASE_URL").expect("an instance has DATABASE_URL")
}

/// A variable as an instance got it.
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("the instance runs");
    let text = String::from_utf8_lossy(&environment);
    let mut lines = text.split('\0').filter_map(|line| line.split_once('='));
    lines
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value.to_owned())
}
