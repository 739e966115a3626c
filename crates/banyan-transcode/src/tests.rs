use std::path::Path;

use expect_test::expect;
use prost_reflect::prost::Message as _;
use serde_json::json;

use super::*;

const SHOP: &[u8] = include_bytes!("../sample/shop.pb");

/// As protoc writes it, of the JSON beside it.
fn set(shop: &str) -> Vec<u8> {
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let encode = |pool: &DescriptorPool, text: &str| {
        let set = pool
            .get_message_by_name("google.protobuf.FileDescriptorSet")
            .unwrap();
        let tree: Value = serde_json::from_str(text).unwrap();
        DynamicMessage::deserialize(set, tree).unwrap().encode_to_vec()
    };
    let mut pool = DescriptorPool::global();
    let mut out = Vec::new();
    for name in ["descriptor", "timestamp", "wrappers"] {
        let file = pool
            .get_file_by_name(&format!("google/protobuf/{name}.proto"))
            .unwrap();
        prost_reflect::prost_types::FileDescriptorSet {
            file: vec![file.file_descriptor_proto().clone()],
        }
        .encode(&mut out)
        .unwrap();
    }
    let api = encode(&pool, &file("api.json"));
    pool.decode_file_descriptor_set(api.as_slice()).unwrap();
    out.extend(api);
    let shop = if shop.is_empty() {
        file("shop.json")
    } else {
        shop.to_owned()
    };
    out.extend(encode(&pool, &shop));
    out
}

#[test]
fn the_sample_is_what_its_text_says() {
    assert!(
        SHOP == set(""),
        "make it anew: cargo test -p banyan-transcode -- --ignored"
    );
}

#[test]
#[ignore = "writes the sample"]
fn make_the_sample() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/shop.pb");
    std::fs::write(path, set("")).unwrap();
}

fn api(bindings: &[(&str, &str)]) -> Result<Api, Vec<Problem>> {
    let bindings = bindings
        .iter()
        .map(|(key, to)| ((*key).to_owned(), (*to).to_owned()));
    Api::compile(SHOP, &[], &bindings.collect())
}

fn found(api: &Api, verb: &str, path: &str) -> Found {
    match api.find(verb, path) {
        Lookup::Found(found) => found,
        other => panic!("{verb} {path}: {other:?}"),
    }
}

/// The call and its message, as JSON.
fn call(line: &str, body: &str) -> String {
    let api = api(&[("POST /v1/plain", "shop.v1.Shop/Plain")]).unwrap();
    let (verb, target) = line.split_once(' ').unwrap();
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(p, q)| (p, Some(q)));
    let found = found(&api, verb, path);
    match api.request(&found, query, body.as_bytes()) {
        Ok(bytes) => {
            let input = api.rules[found.rule].method.input();
            let message = DynamicMessage::decode(input, bytes.as_slice()).unwrap();
            let text = text(&message, &SerializeOptions::new()).unwrap();
            format!("{} {text}", api.target(&found))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn requests_become_messages() {
    for (line, body, expected) in [
        ("GET /v1/items/7", "", "/shop.v1.Shop/GetItem {\"id\":\"7\"}"),
        ("HEAD /v1/items/7", "", "/shop.v1.Shop/GetItem {\"id\":\"7\"}"),
        (
            "GET /v1/items/7?color=RED&tags=a+b&tags=c%26&size.width=3&inStock=true&since=2024-01-02T03:04:05Z",
            "",
            "/shop.v1.Shop/GetItem {\"id\":\"7\",\"color\":\"RED\",\"tags\":[\"a b\",\"c&\"],\"size\":{\"width\":3},\"inStock\":true,\"since\":\"2024-01-02T03:04:05Z\"}",
        ),
        (
            "GET /v1/items/7?color=2&in_stock=false",
            "",
            "/shop.v1.Shop/GetItem {\"id\":\"7\",\"color\":\"BLUE\"}",
        ),
        (
            "GET /v1/colors/RED/items/7",
            "",
            "/shop.v1.Shop/GetItem {\"id\":\"7\",\"color\":\"RED\"}",
        ),
        (
            "POST /v1/items",
            "{\"name\":\"Hat\",\"made_at\":\"2024-01-02T03:04:05Z\",\"picture\":\"AAE=\",\"limit\":5}",
            "/shop.v1.Shop/AddItem {\"name\":\"Hat\",\"madeAt\":\"2024-01-02T03:04:05Z\",\"picture\":\"AAE=\",\"limit\":5}",
        ),
        ("POST /v1/items", "", "/shop.v1.Shop/AddItem {}"),
        (
            "PUT /v1/items/7?dry_run=true",
            "{\"name\":\"Hat\"}",
            "/shop.v1.Shop/PutItem {\"id\":\"7\",\"item\":{\"name\":\"Hat\"},\"dryRun\":true}",
        ),
        // The path wins over the body.
        (
            "POST /v1/shelves/a/items/b:move",
            "{\"name\":\"x\"}",
            "/shop.v1.Shop/MoveItem {\"name\":\"shelves/a/items/b\"}",
        ),
        (
            "POST /v1/plain",
            "{\"name\":\"x\"}",
            "/shop.v1.Shop/Plain {\"name\":\"x\"}",
        ),
        // Mistakes, in words.
        (
            "GET /v1/items/7?colour=RED",
            "",
            "shop.v1.GetItem has no field `colour`",
        ),
        ("GET /v1/items/7?size=3", "", "`size` cannot be part of a query"),
        (
            "GET /v1/items/7?size.depth=3",
            "",
            "shop.v1.Size has no field `depth`",
        ),
        (
            "GET /v1/items/7?id.x=3",
            "",
            "`id` of shop.v1.GetItem has no fields",
        ),
        ("GET /v1/items/7?in_stock=yes", "", "`in_stock` is true or false"),
        (
            "GET /v1/items/7?color=RED&color=BLUE",
            "",
            "`color` is given twice",
        ),
        ("GET /v1/items/7?color=%zz", "", "the query is not well encoded"),
        ("GET /v1/items/7", "{}", "this takes no body"),
        (
            "POST /v1/items?name=x",
            "{}",
            "`name`: all fields are in the body",
        ),
        ("POST /v1/items", "[]", "the body is no JSON object"),
        ("PUT /v1/items/7?item.name=x", "5", "`item` is an object"),
    ] {
        assert_eq!(call(line, body), expected, "{line} {body}");
    }
    for (line, body) in [
        ("GET /v1/items/seven", ""),
        ("GET /v1/items/7?color=GREEN", ""),
        ("POST /v1/items", "{\"nam\":1}"),
        ("POST /v1/items", "{\"name\":1}"),
        ("POST /v1/items", "{\"name\":"),
        ("POST /v1/items", "{\"id\":9223372036854775808}"),
    ] {
        assert!(!call(line, body).starts_with('/'), "{line} {body}");
    }
    let deep = format!("{{\"size\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    assert!(call("POST /v1/items", &deep).contains("recursion limit"));
}

#[test]
fn methods_are_found_by_path_and_verb() {
    let api = api(&[]).unwrap();
    assert_eq!(
        api.find("DELETE", "/v1/items/7"),
        Lookup::Methods(vec!["GET".to_owned(), "PUT".to_owned()])
    );
    assert_eq!(api.find("GET", "/v1/things"), Lookup::Nothing);
    assert_eq!(api.find("GET", "/v1/items/7/8"), Lookup::Nothing);
}

#[test]
fn answers_become_text() {
    let api = api(&[]).unwrap();
    let answer = |verb: &str, path: &str, tree: Value| {
        let found = found(&api, verb, path);
        let output = api.rules[found.rule].method.output();
        let message = DynamicMessage::deserialize(output, tree).unwrap().encode_to_vec();
        api.answer(&found, &message).unwrap()
    };
    let item = json!({ "id": "7", "color": "RED", "tags": ["a"], "inStock": false });
    assert_eq!(
        answer("GET", "/v1/items/7", item.clone()),
        "{\"id\":\"7\",\"color\":\"RED\",\"tags\":[\"a\"]}"
    );
    assert_eq!(
        answer(
            "GET",
            "/v1/items",
            json!({ "items": [{ "id": "1" }], "next": "x" })
        ),
        "[{\"id\":\"1\"}]"
    );
    assert_eq!(answer("GET", "/v1/items", json!({})), "[]");
    let found = found(&api, "GET", "/v1/items/7");
    // Fields that the descriptor does not know are left out; what is no message is a fault.
    assert_eq!(api.answer(&found, &[0xf8, 0x01, 0x05]).unwrap(), "{}");
    assert!(api.answer(&found, &[0x0a, 0xff]).is_err());
}

fn told(result: Result<Api, Vec<Problem>>) -> String {
    let line = |problem: &Problem| {
        let at = problem.binding.as_deref().map(|key| format!("[{key}] "));
        format!(
            "{}{}\n  = {}\n",
            at.unwrap_or_default(),
            problem.message,
            problem.help
        )
    };
    result.err().unwrap().iter().map(line).collect()
}

#[test]
fn what_does_not_fit_is_told_where_it_is_written() {
    expect![[r#"
        [GET /v1/b] the descriptor set has no service `shop.v1.Shops`
          = it has shop.v1.Shop
        [GET /v1/c] shop.v1.Shop has no method `Plane`
          = it has GetItem, AddItem, PutItem, ListItems, MoveItem, Watch, Plain
        [GET /v1/d/{names}] GET /v1/d/{names} of shop.v1.Shop.Plain: shop.v1.Named has no field `names`
          = rules are those of google/api/http.proto
        [GET /v1/e/{name] GET /v1/e/{name of shop.v1.Shop.Plain: the path: a `{` has no `}`
          = rules are those of google/api/http.proto
        [GET /v1/f/{size}] GET /v1/f/{size} of shop.v1.Shop.GetItem: `size` cannot be part of a path
          = rules are those of google/api/http.proto
        [GET /v1/f/{tags}] GET /v1/f/{tags} of shop.v1.Shop.GetItem: `tags` cannot be part of a path
          = rules are those of google/api/http.proto
        [GET /v1/items/{name}] GET /v1/items/{name} of shop.v1.Shop.Plain: shop.v1.Shop.GetItem takes the same requests
          = rules are those of google/api/http.proto
        [GET /v1/watch] GET /v1/watch of shop.v1.Shop.Watch: it streams, and only unary methods can be asked by JSON
          = rules are those of google/api/http.proto
        [get /v1/a] "get /v1/a" is no rule
          = write "GET /v1/items/{id}" = "shop.v1.Shop/GetItem"
    "#]].assert_eq(&told(api(&[
        ("get /v1/a", "shop.v1.Shop/Plain"),
        ("GET /v1/b", "shop.v1.Shops/Plain"),
        ("GET /v1/c", "shop.v1.Shop/Plane"),
        ("GET /v1/d/{names}", "shop.v1.Shop/Plain"),
        ("GET /v1/e/{name", "shop.v1.Shop/Plain"),
        ("GET /v1/f/{size}", "shop.v1.Shop/GetItem"),
        ("GET /v1/f/{tags}", "shop.v1.Shop/GetItem"),
        ("GET /v1/items/{name}", "shop.v1.Shop/Plain"),
        ("GET /v1/watch", "shop.v1.Shop/Watch"),
    ])));
    expect![[r#"
        no descriptor set: failed to decode file descriptor set
          = make it with protoc --include_imports --descriptor_set_out=FILE
    "#]]
    .assert_eq(&told(Api::compile(b"\x0a\x05nope", &[], &BTreeMap::new())));
    expect![[r#"
        the descriptor set has no service `shop.Shop`
          = it has shop.v1.Shop
    "#]]
    .assert_eq(&told(Api::compile(
        SHOP,
        &["shop.Shop".to_owned()],
        &BTreeMap::new(),
    )));
    let bare = set(&json!({ "file": [{ "name": "a.proto", "syntax": "proto3" }] }).to_string());
    expect![[r#"
        no method has a rule
          = annotate methods with google.api.http, or write bindings = { "GET /v1/items/{id}" = "shop.v1.Shop/GetItem" }
    "#]].assert_eq(&told(Api::compile(&bare, &[], &BTreeMap::new())));
}
