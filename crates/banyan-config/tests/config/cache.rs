//! `cache` of `[edge]`.

use std::time::Duration;

use banyan_config::{CacheClass, CachePolicy, CacheProfile, render_resolved};
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"run\"\n[edge]\n";

#[test]
fn without_the_table_nothing_is_kept_and_an_empty_one_is_enough() {
    let edge = |text: &str| load(&format!("{BASE}{text}")).unwrap().config.edge.unwrap();
    assert_eq!(edge("").settings.cache, None);
    let cache = edge("cache = {}").settings.cache.unwrap();
    assert_eq!((cache.memory, cache.profile), (256 << 20, CacheProfile::Safe));
    assert_eq!(cache.rules, []);
}

#[test]
fn rules_are_read_in_order_and_written_back_as_they_are_in_force() {
    let text = r#"[edge.cache]
memory = "1GiB"
profile = "rfc"
policy = "lfu"
rules = [
  { path = "/account/*", store = false },
  { path = "/img/*", class = "image", query = [], strip_cookies = true },
  { path = "/api/list", ttl = "30s", override = true, query = ["page"], tags = ["list"] },
]
"#;
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
    let cache = config.edge.unwrap().settings.cache.unwrap();
    let [account, images, list] = cache.rules.as_slice() else {
        panic!("three rules");
    };
    assert!(!account.store);
    assert_eq!(images.class, Some(CacheClass::Image));
    assert_eq!(images.lifetime(), Some(Duration::from_secs(7 * 86_400)));
    assert_eq!(
        (images.query.as_deref(), images.strip_cookies),
        (Some([].as_slice()), true)
    );
    assert_eq!(list.lifetime(), Some(Duration::from_secs(30)));
    assert!(list.overrides && list.tags == ["list"]);
    assert_eq!(cache.policy, CachePolicy::Lfu);
}

#[test]
fn what_is_wrong_or_without_effect_is_named_with_its_place() {
    let text = r#"[edge.cache]
memory = "1KiB"
rules = [
  { path = "/a/*" },
  { path = "/a/b", ttl = "5m" },
  { path = "/c?page=1", override = true },
  { path = "d" },
  { path = "/e", store = false, ttl = "1m", clas = "html" },
]
"#;
    expect![[r#"
        error: `memory` cannot be "1KiB"
         --> banyan.toml:7:10
          |
        7 | memory = "1KiB"
          |          ^^^^^^
          = write a size from "1MiB" to "1TiB"

        error: "/c?page=1" is more than a path
          --> banyan.toml:11:12
           |
        11 |   { path = "/c?page=1", override = true },
           |            ^^^^^^^^^^^
           = write the path alone; which parameters count is said by `query = ["page"]`

        error: `override` needs a time to put in place
          --> banyan.toml:11:25
           |
        11 |   { path = "/c?page=1", override = true },
           |                         ^^^^^^^^
           = write ttl = "5m" beside it, or a class

        error: `path` cannot be "d": only a path, beginning with `/`
          --> banyan.toml:12:12
           |
        12 |   { path = "d" },
           |            ^^^
           = write "/d"

        error: unknown key `clas` in [edge.cache.rules]
          --> banyan.toml:13:45
           |
        13 |   { path = "/e", store = false, ttl = "1m", clas = "html" },
           |                                             ^^^^
           = did you mean `class`?

        5 errors; nothing was changed"#]]
    .assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn purges_over_http_need_loopback_a_free_port_and_a_token_of_ones_own() {
    let purge = |keys: &str| format!("{BASE}cache = {{ purge = {{ {keys} }} }}\n");
    let sound = |text: String| {
        load(&with_file(&text, "t 600", "0123456789abcdef"))
            .unwrap()
            .config
    };
    let config = sound(purge("token_file = \"t\""));
    assert_eq!(sound(render_resolved(&config, false)), config);
    let endpoint = config.edge.unwrap().settings.cache.unwrap().purge.unwrap();
    assert_eq!(endpoint.listen, "127.0.0.1:9466".parse().unwrap());
    let mut all = String::new();
    for (keys, file) in [
        ("listen = \"0.0.0.0:9466\"", ""),
        ("listen = \"127.0.0.1:9464\"", ""),
        ("token_file = \"t\"", "t 644"),
        ("token_file = \"t\"", "t 600"),
    ] {
        let text = purge(keys);
        let text = if file.is_empty() {
            text
        } else {
            with_file(&text, file, "short")
        };
        all.push_str(&told(&text));
        all.push_str("\n\n");
    }
    expect![[r#"
        error: the token would pass 0.0.0.0:9466 unencrypted
         --> banyan.toml:6:30
          |
        6 | cache = { purge = { listen = "0.0.0.0:9466" } }
          |                              ^^^^^^^^^^^^^^
          = write 127.0.0.1; from other machines, reach it through a tunnel or run `banyan purge` over ssh

        1 error; nothing was changed

        error: port 9464 is taken: metrics are served on it
         --> banyan.toml:6:30
          |
        6 | cache = { purge = { listen = "127.0.0.1:9464" } }
          |                              ^^^^^^^^^^^^^^^^
          = write another port, for example listen = "127.0.0.1:9466"

        1 error; nothing was changed

        error: others can read t (mode 644)
         --> banyan.toml:6:34
          |
        6 | cache = { purge = { token_file = "t" } }
          |                                  ^^^
          = chmod 600 t

        1 error; nothing was changed

        error: t holds no token of 16 characters or more
         --> banyan.toml:6:34
          |
        6 | cache = { purge = { token_file = "t" } }
          |                                  ^^^
          = make one: openssl rand -hex 32 > t

        1 error; nothing was changed

    "#]]
    .assert_eq(&all);
}

#[test]
fn what_a_deploy_fetches_is_whole_urls_or_has_a_base() {
    let warm = |keys: &str| format!("{BASE}cache = {{ warm = {{ {keys} }} }}\n");
    let sound = |keys: &str| {
        let config = load(&warm(keys)).unwrap().config;
        assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
        config.edge.unwrap().settings.cache.unwrap().warm.unwrap()
    };
    let usual = sound("urls = [\"https://shop.example/\"]");
    assert_eq!((usual.rate, usual.urls.len(), usual.base), (50, 1, None));
    let lists =
        sound("manifest = \"dist/m.json\", sitemap = \"s.xml\", base = \"https://a.example/x\", rate = 5");
    assert_eq!(lists.manifest, Some("dist/m.json".into()));
    let mut all = String::new();
    for keys in [
        "",
        "urls = [\"/a\"]",
        "urls = [\"/a\"], base = \"shop.example\"",
        "urls = [\"http://a/\"], rate = 0",
    ] {
        all.push_str(&told(&warm(keys)));
        all.push_str("\n\n");
    }
    expect![[r#"
        error: `warm` names nothing to fetch
         --> banyan.toml:6:11
          |
        6 | cache = { warm = {  } }
          |           ^^^^
          = write urls = ["https://shop.example/"], or a `sitemap` or `manifest`

        1 error; nothing was changed

        error: "/a" has no scheme and host
         --> banyan.toml:6:28
          |
        6 | cache = { warm = { urls = ["/a"] } }
          |                            ^^^^
          = write the whole URL, as visitors ask for it, or base = "https://shop.example" beside `urls`

        1 error; nothing was changed

        error: "shop.example" has no scheme and host
         --> banyan.toml:6:42
          |
        6 | cache = { warm = { urls = ["/a"], base = "shop.example" } }
          |                                          ^^^^^^^^^^^^^^
          = write base = "https://shop.example"

        1 error; nothing was changed

        error: `rate` cannot be 0
         --> banyan.toml:6:49
          |
        6 | cache = { warm = { urls = ["http://a/"], rate = 0 } }
          |                                                 ^
          = write a whole number from 1 to 10000

        1 error; nothing was changed

    "#]]
    .assert_eq(&all);
}

fn with_file(text: &str, header: &str, content: &str) -> String {
    format!("{text}--- {header}\n{content}\n")
}

#[test]
fn pictures_are_switched_on_or_described_and_judged() {
    let rule =
        |image: &str| format!("{BASE}cache = {{ rules = [{{ path = \"/img/*\", image = {image} }}] }}\n");
    let pictures = |image: &str| {
        let config = load(&rule(image)).unwrap().config;
        assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
        let cache = config.edge.unwrap().settings.cache.unwrap();
        cache.rules[0].image.clone()
    };
    assert_eq!(pictures("false"), None);
    let usual = pictures("true").unwrap();
    assert_eq!(
        (usual.widths.len(), usual.quality, usual.formats.len()),
        (8, 85, 3)
    );
    let own = pictures("{ widths = [640, 320, 640], quality = 70, formats = [\"jpeg\"] }").unwrap();
    assert_eq!((own.widths, own.quality), (vec![320, 640], 70));
    expect![[r#"
        error: `widths` names 0
         --> banyan.toml:6:58
          |
        6 | cache = { rules = [{ path = "/img/*", image = { widths = [], quality = 0, formats = [] } }] }
          |                                                          ^^
          = write 1 to 16 of them, for example widths = [320, 640, 1280]; others get the next larger one

        error: `quality` cannot be 0
         --> banyan.toml:6:72
          |
        6 | cache = { rules = [{ path = "/img/*", image = { widths = [], quality = 0, formats = [] } }] }
          |                                                                        ^
          = write a whole number from 1 to 100

        error: `formats` names none
         --> banyan.toml:6:85
          |
        6 | cache = { rules = [{ path = "/img/*", image = { widths = [], quality = 0, formats = [] } }] }
          |                                                                                     ^^
          = write formats = ["avif", "webp", "jpeg"], or image = false

        3 errors; nothing was changed"#]]
    .assert_eq(&told(&rule("{ widths = [], quality = 0, formats = [] }")));
    expect![[r#"
        error: `image` is true, false or a table, not text
         --> banyan.toml:6:47
          |
        6 | cache = { rules = [{ path = "/img/*", image = "yes" }] }
          |                                               ^^^^^
          = write image = true or image = { widths = "…", quality = "…", formats = "…" }

        1 error; nothing was changed"#]]
    .assert_eq(&told(&rule("\"yes\"")));
}
