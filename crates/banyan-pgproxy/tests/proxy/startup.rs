//! The first bytes: who is let in, what junk gets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, code, pool};

async fn raw(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.ok();
    let mut answer = Vec::new();
    tokio::time::timeout(
        std::time::Duration::from_secs(60),
        stream.read_to_end(&mut answer),
    )
    .await
    .expect("the proxy closes")
    .ok();
    answer
}

fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(8 + body.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_unknown_users_and_databases_get_postgresqls_answers() {
    let world = World::start(pool(2)).await;
    world.client().await;
    let mut config = world.config();
    config.password("wrong");
    let error = world.connect(&config).await.err().unwrap();
    assert_eq!(code(&error), "28P01");
    let message = error.as_db_error().unwrap().message().to_owned();
    assert_eq!(message, "password authentication failed for user \"app\"");
    config.user("nobody");
    let error = world.connect(&config).await.err().unwrap();
    assert_eq!(code(&error), "28P01");
    let mut config = world.config();
    config.dbname("elsewhere");
    assert_eq!(code(&world.connect(&config).await.err().unwrap()), "3D000");
    world
        .admin()
        .await
        .batch_execute("ALTER ROLE app VALID UNTIL '2001-01-01'")
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(
        code(&world.connect(&world.config()).await.err().unwrap()),
        "28P01"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_is_answered_with_08p01_or_nothing_and_closed() {
    let world = World::start(pool(1)).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(text(&raw(&world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await).contains("C08P01"));
    assert!(text(&raw(&world, &packet(2 << 16, b"user\0x\0\0")).await).contains("C0A000"));
    assert!(text(&raw(&world, &packet(3 << 16, b"\0")).await).contains("C28000"));
    let ssl = packet((1234 << 16) | 5679, b"");
    assert_eq!(raw(&world, &ssl).await, b"N");
    assert_eq!(raw(&world, &packet((1234 << 16) | 5680, b"")).await, b"N");
    let mut behind = ssl.clone();
    behind.extend(b"user\0");
    assert!(text(&raw(&world, &behind).await).contains("C08P01"));
    // A cancel request with a made-up key gets nothing, like with PostgreSQL.
    assert_eq!(raw(&world, &packet((1234 << 16) | 5678, &[0; 8])).await, b"");
    // TLS without a certificate: closed without a word.
    assert_eq!(raw(&world, &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await, b"");
    let replication = packet(3 << 16, b"user\0app\0replication\0true\0\0");
    assert!(text(&raw(&world, &replication).await).contains("C0A000"));
    world.client().await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_minor_version_is_negotiated_and_a_startup_may_come_byte_by_byte() {
    let world = World::start(pool(1)).await;
    let mut stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    for byte in packet((3 << 16) | 2, b"user\0app\0database\0app\0_pq_.new\0on\0\0") {
        stream.write_all(&[byte]).await.unwrap();
    }
    let mut answer = [0; 64];
    let mut read = 0;
    while !answer[..read].windows(13).any(|w| w == b"SCRAM-SHA-256") {
        let n = stream.read(&mut answer[read..]).await.unwrap();
        assert!(n > 0, "closed: {:?}", String::from_utf8_lossy(&answer[..read]));
        read += n;
    }
    assert_eq!(answer[0], b'v');
    assert!(answer[..read].windows(8).any(|w| w == b"_pq_.new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_allowed_are_refused_with_53300() {
    let mut settings = pool(1);
    settings.max_clients = 2;
    let world = World::start(settings).await;
    let _first = world.client().await;
    let _second = world.client().await;
    assert_eq!(
        code(&world.connect(&world.config()).await.err().unwrap()),
        "53300"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_own_server_is_logged_in_to_by_the_password_of_its_url() {
    let world = World::start_with(pool(2), |snapshot, folder| {
        let path = folder.join("url");
        std::fs::write(&path, "postgres://app:app's%20pass@db.example:5432/app\n").unwrap();
        snapshot.auth = banyan_topology::snapshot::pgproxy::PgAuth::File { path };
    })
    .await;
    world.client().await.simple_query("SELECT 1").await.unwrap();
    let mut config = world.config();
    config.user("other").password("other");
    assert_eq!(code(&world.connect(&config).await.err().unwrap()), "28P01");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_the_one_that_counts() {
    let world = World::start(pool(2)).await;
    let before = world.client().await;
    before.simple_query("SELECT 1").await.unwrap();
    world
        .admin()
        .await
        .batch_execute("ALTER ROLE app PASSWORD 'new'")
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(
        code(&world.connect(&world.config()).await.err().unwrap()),
        "28P01"
    );
    let mut config = world.config();
    config.password("new");
    let after = world.connect(&config).await.unwrap();
    after.simple_query("SELECT 1").await.unwrap();
}
