//! A running example of this crate.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use banyan_testkit::http::Client;
use banyan_testkit::process::{Process, Run};
use banyan_testkit::{Port, wait};
use bytes::Bytes;
use http::{Request, Response};

pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Built along with the tests, beside the folder that they are in.
pub(crate) fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap();
    built.join("examples").join(name)
}

pub(crate) struct App {
    pub(crate) process: Process,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    _port: Port,
}

impl App {
    /// Started, perhaps not ready.
    pub(crate) fn start(name: &str, variables: &[(&str, &str)]) -> Self {
        let port = Port::free();
        let mut run = Run::new(example(name))
            .env("RUST_LOG", "")
            .env("HOST", "127.0.0.1");
        for unset in ["REDIS_URL", "REDIS_CACHE_URL", "DATABASE_POOL"] {
            run = run.env(unset, "");
        }
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let process = run.env("PORT", port.number().to_string()).start().unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        Self {
            client: Client::keep_alive(address),
            process,
            address,
            _port: port,
        }
    }

    pub(crate) async fn ready(name: &str, variables: &[(&str, &str)]) -> Self {
        let app = Self::start(name, variables);
        app.wait_for("/readyz", 200).await;
        app
    }

    pub(crate) async fn wait_for(&self, path: &str, status: u16) -> String {
        let what = format!("{path} to answer {status}");
        let waited = wait::until(&what, LIMIT, async || match self.client.get(path).await {
            Ok(response) if response.status() == status => Ok(text(&response)),
            Ok(response) => Err(format!("{response:?}")),
            Err(failure) => Err(failure.to_string()),
        });
        match waited.await {
            Ok(body) => body,
            Err(timed_out) => panic!("{timed_out}\n{}", self.process.stderr()),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Bytes> {
        self.client.get(path).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Response<Bytes> {
        let request = Request::post(path).body(Bytes::from(body.to_owned())).unwrap();
        self.client.send(request).await.unwrap()
    }
}

pub(crate) fn text(response: &Response<Bytes>) -> String {
    String::from_utf8_lossy(response.body()).into_owned()
}
