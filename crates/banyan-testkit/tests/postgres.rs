//! The scratch PostgreSQL: works, is separate per test, leaves nothing.

use banyan_testkit::postgres::{Postgres, connect};

#[tokio::test]
async fn a_scratch_server_takes_writes_and_needs_its_password() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.create_database("shop").await.unwrap();
    let client = connect(&url).await.unwrap();
    client
        .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
        .await
        .unwrap();
    let row = client.query_one("SELECT n FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);

    let wrong = url.replace(postgres.password(), "wrong");
    assert!(connect(&wrong).await.is_err(), "a wrong password must be refused");
}

#[tokio::test]
async fn servers_side_by_side_do_not_share_data() {
    let (one, two) = (Postgres::start().unwrap(), Postgres::start().unwrap());
    one.create_database("only_in_one").await.unwrap();
    assert!(connect(&two.url_of("only_in_one")).await.is_err());
}

#[tokio::test]
async fn a_dropped_server_no_longer_listens() {
    let postgres = Postgres::start().unwrap();
    let port = postgres.port();
    drop(postgres);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
