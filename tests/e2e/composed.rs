//! Answers that the edge composes, by apply on a running system: of several processes, one of which fails, and of a gRPC
//! method that is asked in JSON.

use std::fs;

use banyan_e2e::{Installation, Manifest};
use serde_json::{Value, json};

/// Described by shop.json beside it.
const SHOP: &[u8] = include_bytes!("../../crates/banyan-transcode/sample/shop.pb");

fn composed(manifest: &mut Manifest) {
    let lines = [
        "[process.users]",
        "command = \"./misfit --json\"",
        "[process.orders]",
        "command = \"./misfit --json --status 500\"",
        "[process.shop]",
        "command = \"./chatter\"",
        "protocol = \"h2\"",
        "[[route]]",
        "name = \"page\"",
        "prefix = \"/page\"",
        "aggregate = { on_failure = \"note\", parts = { user = { process = \"users\", path = \"/users/1\" }, \
         orders = { process = \"orders\", path = \"/orders?user=1\" } } }",
        "[[route]]",
        "name = \"shop\"",
        "prefix = \"/v1\"",
        "grpc.descriptors = \"shop.pb\"",
        "grpc.process = \"shop\"",
        "grpc.services = [\"shop.v1.Shop\"]",
    ];
    manifest.more = lines.map(str::to_owned).to_vec();
}

async fn asked(installation: &Installation, path: &str) -> (u16, String, Value) {
    let answer = installation.client().get(path).await.unwrap();
    let partial = answer.headers().get("x-partial").cloned();
    let partial = partial.map_or(String::new(), |names| names.to_str().unwrap().to_owned());
    let json = serde_json::from_slice(answer.body()).unwrap_or_default();
    (answer.status().as_u16(), partial, json)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_several_processes_and_of_a_grpc_method_come_by_apply() {
    let mut installation = Installation::new(Manifest::misfit("").env("VERSION", "7"));
    fs::write(installation.dir().join("shop.pb"), SHOP).unwrap();
    installation.up().await;
    let applied = installation.apply(composed).await;
    assert!(
        applied.output().contains("add route page"),
        "{}",
        applied.output()
    );

    let (status, partial, page) = asked(&installation, "/page").await;
    assert_eq!((status, partial.as_str()), (200, "orders"));
    assert_eq!(page["user"], json!({"misfit": "7"}));
    assert_eq!(page["orders"]["status"], 500, "{page}");

    // The server sends its message back: an item with the id that was asked for.
    let (status, _, item) = asked(&installation, "/v1/items/7").await;
    assert_eq!((status, item), (200, json!({"id": "7"})));

    let unknown = "grpc.bindings = { \"GET /v1/x\" = \"shop.v1.Shop/Nothing\" }";
    installation.manifest.more.push(unknown.to_owned());
    installation.write_manifest();
    let refused = installation.try_verb(&["plan"]).await;
    let said = refused.output();
    assert!(
        refused.code() == 1 && said.contains("shop.v1.Shop/Nothing"),
        "{said}"
    );
    let (status, ..) = asked(&installation, "/v1/items/7").await;
    assert_eq!(status, 200);
    installation.down().await;
}
