//! The map of a topology, and what the edge is told of it.

use std::collections::BTreeSet;

use crate::notation::topology;
use banyan_topology::{Epoch, rung, snapshot};
use expect_test::expect;

#[test]
fn the_map_shows_the_path_of_a_request_and_what_is_beside_it() {
    let rungs = [
        "",
        "r1 db edge web.1@r1*",
        "r1 db edge web.1@r1* web.2@r1* web.3@r1*",
        "r1 db edge web.1@r1* clock.1@r1 worker.1@r1 worker.2@r1",
        "r1 edge web.1@r1* worker.1@r1",
        "r1 db worker.1@r1",
        "db",
    ];
    let maps = rungs.map(|text| rung::map(&topology(text)));
    expect![[r#"
        nothing runs
        ---
        edge 127.0.0.1:8080 → web ×1 → postgres 15
        ---
        edge 127.0.0.1:8080 → web ×3 → postgres 15
        ---
        edge 127.0.0.1:8080 → web ×1    ┬→ postgres 15
                              clock ×1  ┤
                              worker ×2 ┘
        ---
        edge 127.0.0.1:8080 → web ×1
                              worker ×1
        ---
        worker ×1 → postgres 15
        ---
        postgres 15"#]]
    .assert_eq(&maps.join("\n---\n"));
}

#[test]
fn a_draining_instance_stays_listed_until_its_drain_ends() {
    let topology = topology("r1 edge web.1@r1* web.2@r1* web.3@r1 worker.1@r1");
    let draining = BTreeSet::from(["web.2@r1", "web.3@r1", "web.9@r1"].map(|id| id.parse().unwrap()));
    let snapshot = snapshot::edge(&topology, Epoch(7), &draining).unwrap();
    expect![[r#"
        {
          "process": "web",
          "ready": null,
          "endpoints": [
            {
              "id": "web.1@r1",
              "address": "127.0.0.1:20101",
              "state": "active"
            },
            {
              "id": "web.2@r1",
              "address": "127.0.0.1:20102",
              "state": "draining"
            },
            {
              "id": "web.3@r1",
              "address": "127.0.0.1:20103",
              "state": "draining"
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&snapshot.upstream).unwrap());
    assert_eq!(snapshot.epoch, Epoch(7));
}

#[test]
fn each_routed_process_has_its_own_group_and_a_stray_mixes_with_none() {
    let topology = topology("r1 edge+api web.1@r1* api.1@r1* clock.1@r1* worker.1@r1");
    let snapshot = snapshot::edge(&topology, Epoch(7), &BTreeSet::new()).unwrap();
    let groups: Vec<String> = snapshot
        .upstreams()
        .map(|group| {
            let ids: Vec<String> = group.endpoints.iter().map(|e| e.id.to_string()).collect();
            format!("{}: {}", group.process, ids.join(" "))
        })
        .collect();
    assert_eq!(groups, ["web: web.1@r1", "api: api.1@r1", "clock: clock.1@r1"]);
    assert_eq!(snapshot.routes.len(), 1);
}

#[test]
fn without_an_edge_there_is_nothing_to_tell() {
    assert_eq!(
        snapshot::edge(&topology("r1 worker.1@r1"), Epoch(1), &BTreeSet::new()),
        None
    );
}
