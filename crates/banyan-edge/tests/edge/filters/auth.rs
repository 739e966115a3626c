//! API keys and passwords: who is let in, what instances learn, what clients cannot say themselves.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use banyan_config::{Auth, AuthBy, Filters, RateBy, RateLimit, RouteAction};
use banyan_testkit::upstream::{Message, Upstream};
use tempfile::TempDir;

use super::{asking, route};
use crate::cache::{ok, origin, safe};
use crate::world::{World, get};

/// Of "foo" and "bar".
pub(super) const ACME: &str = "acme:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n";
const ZETA: &str = "zeta:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9\n";
/// ann:sesame and eve:sesame.
const ANN: &str = "Authorization: Basic YW5uOnNlc2FtZQ==\r\n";
const EVE: &str = "Authorization: Basic ZXZlOnNlc2FtZQ==\r\n";
const WRONG: &str = "Authorization: Basic YW5uOlNlc2FtZQ==\r\n";

pub(super) fn private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

pub(super) fn only(names: &[&str]) -> Filters {
    Filters {
        auth: names.iter().map(|name| (*name).to_owned()).collect(),
        ..Filters::default()
    }
}

pub(super) fn auth(by: AuthBy) -> Auth {
    Auth {
        by,
        user_header: "x-auth-user".to_owned(),
        forward: false,
    }
}

pub(super) fn keys(file: PathBuf) -> Auth {
    auth(AuthBy::Keys {
        file,
        header: "x-api-key".to_owned(),
    })
}

/// What an instance says that it was told.
pub(super) fn echo(request: &Message) -> String {
    let told = [
        "x-auth-user",
        "x_auth_user",
        "x-auth-mail",
        "x-api-key",
        "authorization",
    ];
    let told = told.map(|name| format!("{name}={}", request.header(name)));
    told.into_iter()
        .filter(|pair| pair.split_once('=').is_some_and(|(_, value)| !value.is_empty()))
        .collect::<Vec<_>>()
        .join(" ")
}

struct Guarded {
    world: World,
    dir: TempDir,
    _upstream: Upstream,
}

/// `/keys` needs a key, `/people` a password, `/either` one of them, `/page` is answered by the edge.
async fn guarded() -> Guarded {
    let dir = TempDir::new().unwrap();
    let (key_file, people) = (dir.path().join("keys"), dir.path().join("people"));
    private(&key_file, ACME);
    private(&people, &format!("ann:{}\n", bcrypt::hash("sesame", 4).unwrap()));
    let upstream = Upstream::answering(echo).await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.auth = [
            ("partners".to_owned(), keys(key_file)),
            (
                "people".to_owned(),
                Auth {
                    forward: true,
                    ..auth(AuthBy::Users { file: people })
                },
            ),
        ]
        .into();
        let mut page = route("page", only(&["people"]));
        page.action = RouteAction::Respond {
            status: 200,
            body: "secret page".to_owned(),
            content_type: "text/plain".to_owned(),
        };
        s.routes = vec![
            route("keys", only(&["partners"])),
            route("people", only(&["people"])),
            route("either", only(&["partners", "people"])),
            page,
        ];
    })
    .await;
    Guarded {
        world,
        dir,
        _upstream: upstream,
    }
}

#[tokio::test]
async fn a_key_opens_its_route_and_instances_learn_its_name_and_not_the_key() {
    let it = guarded().await;
    for (more, status) in [
        ("", 401),
        ("X-Api-Key: bar\r\n", 401),
        ("X-Api-Key: foo\r\nX-Api-Key: foo\r\n", 401),
    ] {
        let refused = it.world.ask(&asking("/keys", more)).await;
        assert_eq!(refused.status(), status, "{more}");
        let challenge = "ApiKey realm=\"partners\", header=\"x-api-key\"";
        assert_eq!(refused.header("www-authenticate"), challenge);
    }
    let answer = it.world.ask(&asking("/keys", "X-Api-Key: foo\r\n")).await;
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "x-auth-user=acme")
    );
}

#[tokio::test]
async fn nobody_says_who_they_are_by_the_headers_of_the_edge() {
    let it = guarded().await;
    let claims = "X-Auth-User: root\r\nX_Auth_User: root\r\nConnection: x-auth-user\r\n";
    assert_eq!(it.world.ask(&asking("/", claims)).await.text(), "");
    let with_key = asking("/keys", &format!("X-Api-Key: foo\r\n{claims}"));
    assert_eq!(it.world.ask(&with_key).await.text(), "x-auth-user=acme");
}

#[tokio::test]
async fn a_password_is_judged_and_remembered_and_passed_on_if_wanted() {
    let it = guarded().await;
    let refused = it.world.get("/people").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.header("www-authenticate"),
        "Basic realm=\"people\", charset=\"UTF-8\""
    );
    for _ in 0..2 {
        for wrong in [
            WRONG,
            EVE,
            "Authorization: Basic !\r\n",
            "Authorization: Bearer x\r\n",
        ] {
            assert_eq!(
                it.world.ask(&asking("/people", wrong)).await.status(),
                401,
                "{wrong}"
            );
        }
        let answer = it.world.ask(&asking("/people", ANN)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.text(),
            "x-auth-user=ann authorization=Basic YW5uOnNlc2FtZQ=="
        );
    }
}

#[tokio::test]
async fn one_of_several_ways_is_enough_and_all_are_offered() {
    let it = guarded().await;
    let refused = it.world.get("/either").await;
    assert_eq!(refused.status(), 401);
    assert!(
        format!("{refused:?}").contains("ApiKey realm") && format!("{refused:?}").contains("Basic realm")
    );
    let by_key = asking("/either", "X-Api-Key: foo\r\n");
    assert_eq!(it.world.ask(&by_key).await.text(), "x-auth-user=acme");
    assert!(
        it.world
            .ask(&asking("/either", ANN))
            .await
            .text()
            .starts_with("x-auth-user=ann")
    );
}

#[tokio::test]
async fn what_the_edge_answers_itself_is_guarded_too() {
    let it = guarded().await;
    assert_eq!(it.world.get("/page").await.status(), 401);
    assert_eq!(it.world.ask(&asking("/page", WRONG)).await.status(), 401);
    assert_eq!(it.world.ask(&asking("/page", ANN)).await.text(), "secret page");
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_snapshot_with_a_missing_one_is_refused() {
    let mut it = guarded().await;
    private(&it.dir.path().join("keys"), ZETA);
    let until = async {
        loop {
            let answer = it.world.ask(&asking("/keys", "X-Api-Key: bar\r\n")).await;
            if answer.status() == 200 {
                return answer.text();
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let taken = tokio::time::timeout(std::time::Duration::from_secs(20), until).await;
    assert_eq!(taken.unwrap(), "x-auth-user=zeta");
    assert_eq!(
        it.world
            .ask(&asking("/keys", "X-Api-Key: foo\r\n"))
            .await
            .status(),
        401
    );

    let before = it.world.snapshot.clone();
    it.world.snapshot.epoch = before.epoch.next();
    it.world
        .snapshot
        .settings
        .auth
        .insert("gone".to_owned(), keys("/nowhere/keys".into()));
    it.world.put();
    it.world
        .until(|r| {
            r.refused
                .as_ref()
                .is_some_and(|why| why.contains("/nowhere/keys"))
        })
        .await;
    assert_eq!(
        it.world
            .ask(&asking("/keys", "X-Api-Key: bar\r\n"))
            .await
            .status(),
        200
    );
    it.world.snapshot.settings = before.settings;
    it.world.snapshot.routes.push(route("typo", only(&["partner"])));
    it.world.put();
    it.world
        .until(|r| {
            r.refused
                .as_ref()
                .is_some_and(|why| why.contains("no auth partner"))
        })
        .await;
}

#[tokio::test]
async fn limits_count_by_user_and_by_key() {
    let mut it = guarded().await;
    let limit = |name: &str, by| RateLimit {
        name: name.to_owned(),
        count: 1,
        per: std::time::Duration::from_secs(3600),
        burst: 2,
        by,
    };
    it.world
        .publish(|s| {
            s.routes[2].bounds.filters.rate_limits =
                vec![limit("key", RateBy::Key), limit("user", RateBy::User)];
        })
        .await;
    for (more, statuses) in [
        ("X-Api-Key: foo\r\n", [200, 200, 429]),
        (ANN, [200, 200, 429]),
        ("", [401, 401, 401]),
    ] {
        for status in statuses {
            let answer = it.world.ask(&asking("/either", more)).await;
            assert_eq!(answer.status(), status, "{more}");
            assert_eq!(answer.header("retry-after").is_empty(), status != 429);
        }
    }
    assert_eq!(it.world.ask(&get("/")).await.status(), 200);
}

/// The edge tells the app whose key it is, by a field that no `Vary` names.
#[tokio::test]
async fn whom_a_key_lets_in_shares_nothing_whatever_else_it_sends() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("keys");
    private(&file, &format!("{ACME}{ZETA}"));
    let (upstream, _asked) = origin(|_, request| {
        let lines = "Cache-Control: max-age=60, must-revalidate\r\n";
        ok(lines, &request.header("x-auth-user"))
    })
    .await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.cache = Some(Box::new(safe()));
        s.settings.auth = [("partners".to_owned(), keys(file))].into();
        s.routes = vec![route("api", only(&["partners"]))];
    })
    .await;
    for more in ["", "Authorization: Other x\r\n"] {
        for (key, user) in [("foo", "acme"), ("bar", "zeta")] {
            let asked = asking("/api", &format!("X-Api-Key: {key}\r\n{more}"));
            assert_eq!(world.ask(&asked).await.text(), user, "{more}");
        }
    }
}
