//! TLS: by SSLRequest and direct; what is no PostgreSQL is closed.

use banyan_config::CertificateFiles;
use banyan_tls::client::{Trust, connect};
use banyan_tls::local::Local;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, pool};

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
