//! `grpc`: the descriptor set is read and judged with the rules beside it.

use std::path::Path;

use banyan_config::{FileError, FileText, RouteAction, Source, Sources, load, render_resolved};
use expect_test::expect;

const SHOP: &[u8] = include_bytes!("../../../banyan-transcode/sample/shop.pb");
const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./web\"\n[process.shop]\ncommand = \"./shop\"\nprotocol = \"h2\"\n[edge]\nprocess = \"web\"\n";

fn read(text: &str) -> Result<banyan_config::Config, String> {
    let files = |path: &Path| match path.to_str() {
        Some("shop.pb") => Ok(FileText::new(SHOP, 0o644)),
        Some("notes.txt") => Ok(FileText::new("nope", 0o644)),
        Some("large.pb") => Ok(FileText::new(vec![0; (1 << 20) + 1], 0o644)),
        _ => Err(FileError::Missing),
    };
    let sources = Sources {
        main: Source::new("banyan.toml", text),
        overlay: None,
        files: &files,
        certificates: &|_, _| Ok(Vec::new()),
    };
    load(&sources)
        .map(|loaded| loaded.config)
        .map_err(|errors| errors.to_string())
}

#[test]
fn the_set_travels_with_the_route() {
    let text = r##"[[route]]
prefix = "/v1"
[route.grpc]
descriptors = "shop.pb"
process = "shop"
services = ["shop.v1.Shop"]
bindings = { "POST /v1/plain" = "shop.v1.Shop/Plain" }
max = "64KiB"
"##;
    let config = read(&format!("{BASE}{text}")).unwrap();
    assert_eq!(read(&render_resolved(&config, false)).unwrap(), config);
    let route = &config.edge.as_ref().unwrap().routes[0];
    let RouteAction::Grpc(transcode) = &route.action else {
        panic!("{:?}", route.action);
    };
    assert_eq!(transcode.descriptors.0, SHOP);
    let json = serde_json::to_string(route).unwrap();
    assert_eq!(
        serde_json::from_str::<banyan_config::Route>(&json).unwrap(),
        *route
    );
    assert_eq!(
        route.processes().map(|p| p.as_str()).collect::<Vec<_>>(),
        ["shop"]
    );
}

#[test]
fn what_does_not_fit_the_set_is_refused_where_it_is_written() {
    let text = r##"[[route]]
prefix = "/a"
[route.grpc]
descriptors = "shop.pb"
services = ["shop.Shop"]
bindings = { "POST /v1/x" = "shop.v1.Shop/Plane", "GET /v1/{nam}" = "shop.v1.Shop/Plain", "GET v1" = "shop.v1.Shop/Plain" }
[[route]]
prefix = "/b"
grpc = { descriptors = "notes.txt", process = "shop" }
[[route]]
prefix = "/c"
grpc = { descriptors = "none.pb", process = "shop" }
[[route]]
prefix = "/d"
rewrite = "/"
grpc = { descriptors = "large.pb", process = "shop" }
[[route]]
prefix = "/e"
as_received = true
grpc = { process = "shop" }
"##;
    expect![[r#"
        error: `web` is not spoken to by HTTP/2, which gRPC needs
          --> banyan.toml:12:1
           |
        12 | [route.grpc]
           | ^^^^^^^^^^^^
           = write protocol = "h2" in [process.web]

        error: the descriptor set has no service `shop.Shop`
          --> banyan.toml:13:15
           |
        13 | descriptors = "shop.pb"
           |               ^^^^^^^^^
           = it has shop.v1.Shop

        error: shop.v1.Shop has no method `Plane`
          --> banyan.toml:15:14
           |
        15 | bindings = { "POST /v1/x" = "shop.v1.Shop/Plane", "GET /v1/{nam}" = "shop.v1.Shop/Plain", "GET v1" = "shop.v1.Shop/Plain" }
           |              ^^^^^^^^^^^^
           = it has GetItem, AddItem, PutItem, ListItems, MoveItem, Watch, Plain

        error: GET /v1/{nam} of shop.v1.Shop.Plain: shop.v1.Named has no field `nam`
          --> banyan.toml:15:51
           |
        15 | bindings = { "POST /v1/x" = "shop.v1.Shop/Plane", "GET /v1/{nam}" = "shop.v1.Shop/Plain", "GET v1" = "shop.v1.Shop/Plain" }
           |                                                   ^^^^^^^^^^^^^^^
           = rules are those of google/api/http.proto

        error: GET v1 of shop.v1.Shop.Plain: the path: it does not begin with `/`
          --> banyan.toml:15:91
           |
        15 | bindings = { "POST /v1/x" = "shop.v1.Shop/Plane", "GET /v1/{nam}" = "shop.v1.Shop/Plain", "GET v1" = "shop.v1.Shop/Plain" }
           |                                                                                           ^^^^^^^^
           = rules are those of google/api/http.proto

        error: no descriptor set: failed to decode file descriptor set
          --> banyan.toml:18:24
           |
        18 | grpc = { descriptors = "notes.txt", process = "shop" }
           |                        ^^^^^^^^^^^
           = make it with protoc --include_imports --descriptor_set_out=FILE

        error: none.pb cannot be read: there is no such file
          --> banyan.toml:21:24
           |
        21 | grpc = { descriptors = "none.pb", process = "shop" }
           |                        ^^^^^^^^^
           = make it with protoc --include_imports --descriptor_set_out=FILE

        error: `rewrite` does nothing beside `grpc`
          --> banyan.toml:24:11
           |
        24 | rewrite = "/"
           |           ^^^
           = remove it

        error: large.pb has 1048577 bytes: 1 to 1048576 are possible
          --> banyan.toml:25:24
           |
        25 | grpc = { descriptors = "large.pb", process = "shop" }
           |                        ^^^^^^^^^^
           = make it with protoc --include_imports --descriptor_set_out=FILE
           = without --include_source_info

        error: `as_received` does nothing beside `grpc`
          --> banyan.toml:28:1
           |
        28 | as_received = true
           | ^^^^^^^^^^^
           = remove it: here a path is read in one way only

        error: [route.grpc] needs `descriptors`
          --> banyan.toml:29:1
           |
        29 | grpc = { process = "shop" }
           | ^^^^
           = descriptors: A descriptor set with its imports (protoc --include_imports --descriptor_set_out), relative to banyan.toml; at most 1 MiB.

        11 errors; nothing was changed"#]].assert_eq(&read(&format!("{BASE}{text}")).unwrap_err());
}
