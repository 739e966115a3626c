//! TLS: by SSLRequest and direct; what is no PostgreSQL is closed.

use banyan_config::CertificateFiles;
use banyan_tls::client::{Trust, connect};
use banyan_tls::local::Local;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use banyan_topology::snapshot::pgproxy::{PgAuth, ServerTls};

use crate::world::{World, code, eventually, pool};

async fn world() -> (World, std::path::PathBuf) {
    let mut authority = std::path::PathBuf::new();
    let world = World::start_with(pool(2), |snapshot, folder| {
        let local = Local::new(folder.join("tls"));
        let now = i64::try_from(banyan_runtime::Clock.unix_ms() / 1000).unwrap();
        local
            .ensure("shop", &["localhost".to_owned()].into(), now)
            .unwrap();
        authority = local.authority();
        snapshot.certificate = Some(CertificateFiles {
            cert: local.leaf(),
            key: local.leaf(),
        });
    })
    .await;
    (world, authority)
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0app\0database\0app\0\0";
    let mut out = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    out.extend(body);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_after_sslrequest_and_directly_with_the_protocols_name() {
    let (world, authority) = world().await;
    let address = ("127.0.0.1", world.port());
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
    let mut answer = [0];
    plain.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"S");
    let direct = TcpStream::connect(address).await.unwrap();
    for (stream, protocols) in [(plain, vec![]), (direct, vec!["postgresql"])] {
        let mut tls = connect(stream, "localhost", Trust::Authority(&authority), &protocols)
            .await
            .unwrap();
        tls.write_all(&startup()).await.unwrap();
        let mut answer = [0; 9];
        tls.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[0], b'R');
        assert_eq!(answer[8], 10, "SASL");
    }
    // Direct TLS without the name is closed after the handshake.
    let direct = TcpStream::connect(address).await.unwrap();
    let mut tls = connect(direct, "localhost", Trust::Authority(&authority), &[])
        .await
        .unwrap();
    tls.write_all(&startup()).await.ok();
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty());
    // Without TLS it goes on as before.
    world.client().await.simple_query("SELECT 1").await.unwrap();
}

/// Lets the server speak TLS with the certificate and key in this file, as the user that it runs as.
async fn serve_tls(world: &World, leaf: &std::path::Path) {
    let admin = world.admin().await;
    let pem = std::fs::read_to_string(leaf).unwrap();
    for file in ["server.crt", "server.key"] {
        let sql = format!(
            "COPY (SELECT line FROM regexp_split_to_table('{pem}', E'\\n') line) TO PROGRAM 'umask 077; cat > {file}'"
        );
        admin.batch_execute(&sql).await.unwrap();
    }
    admin.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    eventually("TLS", || async {
        let client = world.admin().await;
        let on: String = client.query_one("SHOW ssl", &[]).await.unwrap().get(0);
        on == "on"
    })
    .await;
}

/// `sslmode=verify-full` and `require`, statements and cancel requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_the_users_own_is_spoken_to_by_tls_and_must_prove_its_name() {
    let mut world = World::start_with(pool(2), |snapshot, folder| {
        let path = folder.join("url");
        std::fs::write(&path, "postgres://app:app's%20pass@db.example:5432/app\n").unwrap();
        snapshot.auth = PgAuth::File { path };
    })
    .await;
    let local = Local::new(world.folder.path().join("tls"));
    let now = i64::try_from(banyan_runtime::Clock.unix_ms() / 1000).unwrap();
    let names = ["db.example".to_owned()].into();
    local.ensure("shop", &names, now).unwrap();
    let speak = async |world: &mut World, name: &str, authorities: Option<std::path::PathBuf>| {
        let tls = ServerTls {
            any_name: false,
            name: name.to_owned(),
            authorities,
        };
        world.publish(|s| s.database.nodes[0].tls = Some(tls)).await;
    };
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    // A server that speaks no TLS is not spoken to in clear.
    speak(&mut world, "db.example", None).await;
    assert!(world.connect(&world.config()).await.is_err());
    serve_tls(&world, &local.leaf()).await;
    for authorities in [None, Some(local.authority())] {
        speak(&mut world, "db.example", authorities).await;
        let client = world.client().await;
        assert!(client.query_one(encrypted, &[]).await.unwrap().get::<_, bool>(0));
        let cancel = client.cancel_token();
        let (told, ()) = tokio::join!(client.batch_execute("SELECT pg_sleep(60)"), async {
            let admin = world.admin().await;
            eventually("it sleeps", || async {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
                admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
            })
            .await;
            cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        });
        assert_eq!(code(&told.unwrap_err()), "57014");
    }
    speak(&mut world, "another.example", Some(local.authority())).await;
    // What a greeting says is known by now.
    let told = world.client().await.simple_query("SELECT 1").await;
    assert_eq!(code(&told.unwrap_err()), "08006");
}
