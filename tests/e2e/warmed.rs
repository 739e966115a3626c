//! `[edge.cache.warm]`: after a deploy every edge has what it names, and whatever cannot be had costs the deploy nothing.

use std::fs;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::Port;
use banyan_testkit::http::Client;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_has_every_edge_fetch_what_is_named_and_what_fails_is_named_and_fails_nothing() {
    let south = Port::free();
    let mut installation = Installation::new(Manifest::misfit(""));
    let base = format!("http://{}", installation.edge_address());
    let warm =
        format!("warm = {{ urls = [\"/kept/a\", \"/other\"], sitemap = \"map.xml\", base = \"{base}\" }}");
    let rules = "rules = [{ path = \"/kept/*\", ttl = \"1h\" }]";
    installation.manifest.edge = vec![format!("cache = {{ {rules}, {warm} }}")];
    installation.manifest.more = vec![
        "[edge.place.south]".to_owned(),
        format!("port = {}", south.number()),
    ];
    installation.write_manifest();
    installation.up().await;

    // The build has not made the list: the deploy is one all the same.
    let deployed = installation.verb(&["deploy"]).await;
    assert!(
        deployed.stderr.contains("caches were not warmed") && deployed.stderr.contains("map.xml"),
        "{}",
        deployed.stderr
    );

    let map =
        format!("<urlset><url><loc>{base}/kept/b</loc></url><url><loc>https://{base}/c</loc></url></urlset>");
    fs::write(
        installation.dir().join("map.xml"),
        map.replace("https://http", "https"),
    )
    .unwrap();
    let deployed = installation.verb(&["--json", "deploy"]).await;
    let told: Value = serde_json::from_str(&deployed.stdout).unwrap();
    assert_eq!(told["outcome"], "changed", "{told}");
    let warmed = &told["warmed"];
    assert_eq!(
        (&warmed["stored"], &warmed["known"]),
        (&4.into(), &0.into()),
        "{told}"
    );
    let unkept: usize = warmed["not_kept"]
        .as_object()
        .unwrap()
        .values()
        .map(|urls| urls.as_array().unwrap().len())
        .sum();
    assert_eq!(unkept, 2, "{told}");
    let failed = warmed["failed"].as_array().unwrap();
    assert_eq!(failed.len(), 2, "{told}");
    assert!(
        failed[0]["why"].as_str().unwrap().contains("speaks no TLS"),
        "{told}"
    );
    // As visitors ask: by the name that the list has, at each edge.
    let host = installation.edge_address().to_string();
    for edge in [installation.edge_address(), south.address()] {
        for path in ["/kept/a", "/kept/b"] {
            let request = http::Request::get(path).header("host", &host);
            let answer = Client::fresh_connections(edge)
                .send(request.body(bytes::Bytes::new()).unwrap())
                .await
                .unwrap();
            let said = answer.headers()["cache-status"].to_str().unwrap();
            assert!(said.contains("; hit; ttl="), "{edge}{path}: {said}");
        }
    }

    let said = installation.verb(&["deploy"]).await;
    for expected in [
        "caches fetch 4 URLs",
        "0 stored, 4 were there",
        "failed: https://",
    ] {
        assert!(said.stderr.contains(expected), "{expected}\n{}", said.stderr);
    }
    installation.down().await;
}
