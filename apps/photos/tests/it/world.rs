//! A scratch database, a Redis if wanted, a data folder, and instances of the app.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use banyan_testkit::http::Client;
use banyan_testkit::process::{Finished, Process, Run};
use banyan_testkit::{Port, Postgres, Redis, wait};
use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const LIMIT: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) data: TempDir,
    /// Of the cache.
    pub(crate) redis: Option<Redis>,
}

impl World {
    /// The schema is up to date.
    pub(crate) async fn new() -> Self {
        let world = Self::without_schema();
        let migrated = world.run(&["migrate"]).await;
        assert!(migrated.status.success(), "{}", migrated.output());
        world
    }

    pub(crate) async fn with_cache() -> Self {
        Self {
            redis: Some(Redis::start().unwrap()),
            ..Self::new().await
        }
    }

    pub(crate) fn without_schema() -> Self {
        Self {
            redis: None,
            postgres: Postgres::start().unwrap(),
            data: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Run {
        Run::new(env!("CARGO_BIN_EXE_photos"))
            .args(args)
            .env("DATABASE_URL", self.postgres.url())
            .env(
                "REDIS_CACHE_URL",
                self.redis.as_ref().map(Redis::url).unwrap_or_default(),
            )
            .env("BANYAN_DATA_DIR", self.data.path())
            .env("BANYAN_APP", "photos")
            .env("HOST", "127.0.0.1")
            .env("TOKEN_KEYS", "")
            .env("RUST_LOG", "")
            .env("DATABASE_POOL", "5")
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Finished {
        self.command(args).finish(LIMIT).await.unwrap()
    }

    /// Started, perhaps not ready.
    pub(crate) fn start(&self, instance: &str) -> App {
        Self::start_as(self.command(&["serve"]), instance)
    }

    /// Of the same site, without its Redis.
    pub(crate) async fn ready_without_cache(&self, instance: &str) -> App {
        let app = Self::start_as(self.command(&["serve"]).env("REDIS_CACHE_URL", ""), instance);
        app.wait_for("/readyz", 200).await;
        app
    }

    fn start_as(command: Run, instance: &str) -> App {
        let port = Port::free();
        let process = command
            .env("PORT", port.number().to_string())
            .env("BANYAN_INSTANCE", instance)
            .start()
            .unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        App {
            client: Client::keep_alive(address),
            process,
            address,
            _port: port,
        }
    }

    pub(crate) async fn ready(&self, instance: &str) -> App {
        let app = self.start(instance);
        app.wait_for("/readyz", 200).await;
        app
    }

    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        banyan_testkit::postgres::connect(&self.postgres.url())
            .await
            .unwrap()
    }
}

pub(crate) struct App {
    pub(crate) process: Process,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    _port: Port,
}

impl App {
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn wait_for(&self, path: &str, status: u16) {
        let what = format!("{path} to answer {status}");
        let waited = wait::until(&what, LIMIT, async || match self.client.get(path).await {
            Ok(response) if response.status() == status => Ok(()),
            Ok(response) => Err(format!("{response:?}")),
            Err(failure) => Err(failure.to_string()),
        });
        if let Err(timed_out) = waited.await {
            panic!("{timed_out}\n{}", self.process.stderr());
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Bytes> {
        self.client.get(path).await.unwrap()
    }

    /// Status and JSON.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let response = self.client.json(method, path, token, body).await.unwrap();
        let json = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), json)
    }

    /// A new user's token.
    pub(crate) async fn register(&self, name: &str) -> String {
        let user =
            json!({"user": {"username": name, "email": format!("{name}@x.test"), "password": "password123"}});
        let (status, answer) = self.call(Method::POST, "/api/users", None, &user).await;
        assert_eq!(status, 201, "{answer}");
        answer["user"]["token"].as_str().unwrap().to_owned()
    }

    /// A multipart form with one file.
    pub(crate) async fn upload(&self, token: Option<&str>, name: &str, file: &[u8]) -> (u16, Value) {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"{name}\"\r\n\
             Content-Type: image/png\r\n\r\n"
        );
        let form = [head.as_bytes(), file, b"\r\n--edge--\r\n"].concat();
        let mut request =
            Request::post("/photos").header("content-type", "multipart/form-data; boundary=edge");
        if let Some(token) = token {
            request = request.header("authorization", format!("Token {token}"));
        }
        let response = self
            .client
            .send(request.body(Bytes::from(form)).unwrap())
            .await
            .unwrap();
        let json = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        (response.status().as_u16(), json)
    }
}

pub(crate) fn article(title: &str) -> Value {
    json!({"article": {"title": title, "description": "d", "body": "b", "tagList": []}})
}
