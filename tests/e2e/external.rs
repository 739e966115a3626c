//! A PostgreSQL of the user's own behind the proxy: refused where it does not fit, pooled, and left alone.

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::postgres::{self, Postgres};
use banyan_testkit::wait;
use banyan_tls::local::Local;

use crate::scenario::Loaded;
use crate::servers::{RATE, row};

const PASSWORD: &str = "app's pass";

/// A server with the app's role and database.
async fn server() -> Postgres {
    let server = Postgres::start().unwrap();
    let admin = postgres::connect(&server.url()).await.unwrap();
    for sql in [
        "CREATE ROLE shop LOGIN PASSWORD 'app''s pass'",
        "CREATE DATABASE shop OWNER shop",
    ] {
        admin.batch_execute(sql).await.unwrap();
    }
    server
}

fn url(server: &Postgres, options: &str) -> String {
    let port = server.port();
    format!("postgres://shop:app's%20pass@127.0.0.1:{port}/shop{options}")
}

/// The sample app with that URL, and with these keys behind it.
fn at(manifest: &Manifest, url: &str, keys: &[&str]) -> Manifest {
    let mut manifest = manifest.clone();
    manifest.database = false;
    manifest.more = vec!["[database]".to_owned(), format!("url = \"{url}\"")];
    manifest.more.extend(keys.iter().map(|key| (*key).to_owned()));
    manifest
}

async fn refused(installation: &mut Installation, manifest: Manifest, told: &str) {
    installation.manifest = manifest;
    installation.write_manifest();
    let refused = installation.try_verb(&["plan"]).await;
    assert_ne!(refused.code(), 0, "{}", refused.output());
    assert!(refused.output().contains(told), "{told}: {}", refused.output());
    assert!(!refused.output().contains(PASSWORD), "{}", refused.output());
}

/// Lets the server speak TLS with a certificate for db.example.
async fn serve_tls(server: &Postgres, local: &Local) {
    let now = i64::try_from(banyan_runtime::Clock.unix_ms() / 1000).unwrap();
    local
        .ensure("shop", &["db.example".to_owned()].into(), now)
        .unwrap();
    let pem = std::fs::read_to_string(local.leaf()).unwrap();
    let admin = postgres::connect(&server.url()).await.unwrap();
    for file in ["server.crt", "server.key"] {
        let lines = format!("SELECT line FROM regexp_split_to_table('{pem}', E'\\n') line");
        let sql = format!("COPY ({lines}) TO PROGRAM 'umask 077; cat > {file}'");
        admin.batch_execute(&sql).await.unwrap();
    }
    admin.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let limit = std::time::Duration::from_secs(30);
    let on = wait::until("TLS", limit, async || {
        let client = postgres::connect(&server.url())
            .await
            .map_err(|error| error.to_string())?;
        let row = client
            .query_one("SHOW ssl", &[])
            .await
            .map_err(|error| error.to_string())?;
        if row.get::<_, String>(0) == "on" {
            Ok(())
        } else {
            Err("off".to_owned())
        }
    });
    on.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_ones_own_is_adopted_behind_the_proxy_and_left_alone_under_load() {
    let server = server().await;
    let photos = Manifest::photos(2).process("stop_grace = \"5s\"");
    let mut loaded = Loaded::of(at(&photos, &url(&server, ""), &[]), RATE).await;
    let began = "SELECT pg_postmaster_start_time()::text";
    let admin = postgres::connect(&server.url()).await.unwrap();
    let started: String = admin.query_one(began, &[]).await.unwrap().get(0);
    let proxy = row(&loaded.installation, "pgproxy").await.unwrap();
    let detail = proxy["detail"].as_str().unwrap();
    assert!(
        detail.contains("to shop on 127.0.0.1") && detail.contains("(yours)"),
        "{detail}"
    );
    assert!(row(&loaded.installation, "postgres").await.is_none());

    loaded
        .during("a smaller pool", async |it| {
            it.manifest = at(&it.manifest, &url(&server, ""), &["pgproxy.pool = 5"]);
            it.write_manifest();
            it.verb(&["apply"]).await;
        })
        .await;
    let tls = Local::new(loaded.installation.dir().join("authority"));
    serve_tls(&server, &tls).await;
    let authority = tls.authority();
    let verified = format!("?sslmode=verify-ca&sslrootcert={}", authority.display());
    loaded
        .during("TLS", async |it| {
            it.manifest = at(&it.manifest, &url(&server, &verified), &["pgproxy.pool = 5"]);
            it.write_manifest();
            it.verb(&["apply"]).await;
        })
        .await;
    // The proxy's own connections are not the pool's.
    let sql = "SELECT count(*) FILTER (WHERE ssl), count(*), count(*) FILTER (WHERE application_name <> 'banyan') \
               FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'shop'";
    let counted = admin.query_one(sql, &[]).await.unwrap();
    let (encrypted, all, pooled): (i64, i64, i64) = (counted.get(0), counted.get(1), counted.get(2));
    assert!(
        encrypted == all && (1..=5).contains(&pooled),
        "{encrypted} of {all}, {pooled} in the pool"
    );

    let it = &mut loaded.installation;
    let good = it.manifest.clone();
    let other = url(&server, &verified).replace("verify-ca", "verify-full");
    refused(it, at(&good, &other, &[]), "TLS to 127.0.0.1").await;
    refused(
        it,
        Manifest {
            more: Vec::new(),
            database: true,
            ..good.clone()
        },
        "run `banyan down`",
    )
    .await;
    it.manifest = good;
    it.write_manifest();

    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
    let now: String = admin.query_one(began, &[]).await.unwrap().get(0);
    assert_eq!(now, started, "nobody has touched it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_ones_own_that_does_not_fit_is_refused_before_anything_starts() {
    let server = server().await;
    let replica = server.replica(&[]).unwrap();
    let photos = Manifest::photos(1);
    let mut it = Installation::new(photos.clone());
    let good = url(&server, "");
    let with = |url: &str| at(&photos, url, &[]);
    refused(
        &mut it,
        with(&good.replace("pass@", "word@")),
        "refuses user shop: password authentication failed",
    )
    .await;
    refused(&mut it, with(&format!("{good}s")), "there is no database shops").await;
    refused(&mut it, with(&url(&replica, "")), "is a replica").await;
    refused(
        &mut it,
        with(&url(&server, "?sslmode=require")),
        "does not speak TLS",
    )
    .await;
    refused(
        &mut it,
        with(&url(&server, "?sslmode=verify-full")),
        "needs sslrootcert=",
    )
    .await;
    refused(
        &mut it,
        with(&good.replace("127.0.0.1", "no.such.host.invalid")),
        "is no known name",
    )
    .await;
    refused(
        &mut it,
        at(&photos, &good, &["pgproxy.pool = 900"]),
        "a pool of 900 does not fit",
    )
    .await;
    refused(
        &mut it,
        at(&photos, &good, &["replicas = 1"]),
        "`replicas` has no effect",
    )
    .await;
    drop(server);
    refused(&mut it, with(&good), "cannot be reached").await;
}
