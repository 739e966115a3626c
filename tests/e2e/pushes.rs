//! `banyan cdn push` on the running system: what was pushed is answered by every edge without the app ever being asked, also
//! within TLS; what is not kept is named, with the edge that did not take it.

use std::fs;
use std::os::unix::fs::symlink;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::Port;
use banyan_testkit::http::Client;
use serde_json::Value;

async fn pushed(installation: &Installation, arguments: &[&str]) -> (i32, Value) {
    let mut verb = vec!["--json", "cdn", "push"];
    verb.extend(arguments);
    let finished = installation.try_verb(&verb).await;
    let told = serde_json::from_str(&finished.stdout);
    (
        finished.code(),
        told.unwrap_or_else(|_| panic!("{}", finished.output())),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_given_to_every_edge_and_the_app_is_not_asked() {
    let south = Port::free();
    let mut manifest = Manifest::misfit("--status 404")
        .edge("cache = { rules = [{ path = \"/private/*\", store = false }, { path = \"/ruled/*\", ttl = \"1h\" }] }");
    manifest.more = vec![
        "[edge.place.south]".to_owned(),
        format!("port = {}", south.number()),
    ];
    let mut installation = Installation::new(manifest);
    // No 200 to wait for.
    installation.start_controller();
    installation.settled().await;
    let folder = installation.dir().join("assets");
    fs::create_dir_all(folder.join("css")).unwrap();
    fs::write(folder.join("css/site.css"), "body { color: green }").unwrap();
    fs::write(folder.join("large.js"), "x".repeat(3 << 20)).unwrap();
    fs::write(folder.join(".hidden"), "no").unwrap();
    symlink("/etc/hostname", folder.join("outside")).unwrap();
    let source = folder.to_str().unwrap();
    let base = format!("http://{}/assets", installation.edge_address());
    let nothing = pushed(&installation, &[source, "--base", &base]).await;
    assert_eq!(nothing.0, 1);
    let why = nothing.1["edges"][0]["failed"][0]["why"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        why.starts_with("nothing says how long it is fresh"),
        "{}",
        nothing.1
    );
    let kept = ["--cache-control", "public, max-age=600"];
    let places = [
        installation.edge_address(),
        ([127, 0, 0, 1], south.number()).into(),
    ];
    for place in places {
        // Clients of a place ask by its own name.
        let base = format!("http://{place}/assets");
        let (code, told) = pushed(&installation, &[&[source, "--base", &base], &kept[..]].concat()).await;
        let edges = told["edges"].as_array().cloned().unwrap_or_default();
        assert_eq!((code, edges.len()), (0, 2), "{told}");
        assert!(edges.iter().all(|edge| edge["files"] == 2), "{told}");
        for (path, length) in [("/assets/css/site.css", 21), ("/assets/large.js", 3 << 20)] {
            let answer = Client::fresh_connections(place).get(path).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), answer.body().len()),
                (200, length),
                "{path}"
            );
            let said = answer.headers()["cache-status"].to_str().unwrap();
            assert!(said.contains("; hit; ttl="), "{path}: {said}");
        }
        let missing = Client::fresh_connections(place)
            .get("/assets/outside")
            .await
            .unwrap();
        assert_eq!(missing.status(), 404);
    }
    let private = format!("http://{}/private", installation.edge_address());
    let (code, told) = pushed(
        &installation,
        &[&[source, "--base", &private], &kept[..]].concat(),
    )
    .await;
    assert_eq!(
        (code, &told["edges"][0]["failed"][0]["why"]),
        (1, &Value::from("its rule says store = false"))
    );
    let ruled = format!("http://{}/ruled", installation.edge_address());
    assert_eq!(pushed(&installation, &[source, "--base", &ruled]).await.0, 0);
    // A purge reaches what was pushed.
    let url = format!("{base}/css/site.css");
    installation.verb(&["purge", "--hard", &url]).await;
    let gone = installation.client().get("/assets/css/site.css").await.unwrap();
    assert_eq!(gone.status(), 404);
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_urls_is_fetched_by_the_edge_within_tls_and_what_is_not_kept_fails() {
    let https = Port::free();
    let manifest = Manifest::misfit("")
        .edge("cache = { rules = [{ path = \"/kept/*\", ttl = \"1h\" }] }")
        .edge("tls = \"self-signed\"")
        .edge(&format!("https_port = {}", https.number()));
    let mut installation = Installation::new(manifest);
    // Without TLS it only redirects.
    installation.start_controller();
    installation.settled().await;
    let list = installation.dir().join("urls.txt");
    let base = format!("https://localhost:{}", https.number());
    fs::write(
        &list,
        format!("# what everybody asks for\n{base}/kept/a\n\n/kept/b\n"),
    )
    .unwrap();
    let list = list.to_str().unwrap();
    let (code, told) = pushed(&installation, &[list, "--base", &base]).await;
    assert_eq!((code, &told["stored"]), (0, &Value::from(2)), "{told}");
    let (code, told) = pushed(&installation, &[list, "--base", &base]).await;
    assert_eq!((code, &told["known"]), (0, &Value::from(2)), "{told}");
    fs::write(list, format!("{base}/other\n")).unwrap();
    let (code, told) = pushed(&installation, &[list]).await;
    assert_eq!((code, told["stored"].as_u64()), (1, Some(0)), "{told}");
    installation.down().await;
}
