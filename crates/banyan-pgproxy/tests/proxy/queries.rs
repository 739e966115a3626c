//! Statements of all kinds come back right.

use futures_util::{SinkExt as _, TryStreamExt as _};

use crate::world::{World, code, eventually, pool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simple_extended_and_copy_pass_through_one_backend() {
    let world = World::start(pool(1)).await;
    let client = world.client().await;
    client
        .batch_execute("CREATE TABLE t (a int primary key, b text)")
        .await
        .unwrap();
    let statement = client.prepare("INSERT INTO t VALUES ($1, $2)").await.unwrap();
    for a in 0..100_i32 {
        client
            .execute(&statement, &[&a, &format!("row {a}")])
            .await
            .unwrap();
    }
    let sink = client.copy_in("COPY t FROM STDIN").await.unwrap();
    futures_util::pin_mut!(sink);
    for a in 100..200 {
        sink.send(bytes::Bytes::from(format!("{a}\tcopied {a}\n")))
            .await
            .unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 100);
    let out = client
        .copy_out("COPY (SELECT a FROM t ORDER BY a) TO STDOUT")
        .await
        .unwrap();
    let out: Vec<_> = out.try_collect().await.unwrap();
    assert_eq!(out.len(), 200);
    let rows = client
        .query("SELECT b FROM t WHERE a = $1", &[&150])
        .await
        .unwrap();
    assert_eq!(rows[0].get::<_, String>(0), "copied 150");
    let big = client
        .query_one("SELECT repeat('x', 5000000)", &[])
        .await
        .unwrap();
    assert_eq!(big.get::<_, String>(0).len(), 5_000_000);
    let long = "y".repeat(3_000_000);
    let row = client
        .query_one("SELECT length($1::text)", &[&long])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i32>(0), 3_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_keeps_the_connection_and_its_transaction_ends_as_with_postgresql() {
    let world = World::start(pool(1)).await;
    let client = world.client().await;
    assert_eq!(
        code(&client.simple_query("SELECT 1/0").await.unwrap_err()),
        "22012"
    );
    assert_eq!(
        code(&client.query("SELECT * FROM nowhere", &[]).await.unwrap_err()),
        "42P01"
    );
    client.batch_execute("BEGIN").await.unwrap();
    assert_eq!(
        code(&client.query("SELECT 1/$1::int", &[&0]).await.unwrap_err()),
        "22012"
    );
    assert_eq!(code(&client.query("SELECT 1", &[]).await.unwrap_err()), "25P02");
    client.batch_execute("ROLLBACK").await.unwrap();
    let row = client.query_one("SELECT 7", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_clients_share_three_backends_and_each_gets_its_own_answers() {
    let world = World::start(pool(3)).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(world.client().await);
    }
    let work = clients.iter().enumerate().map(|(number, client)| async move {
        let number = number as i64;
        let statement = client.prepare("SELECT $1::int8 * 1000 + $2::int8").await.unwrap();
        for turn in 0..40_i64 {
            let row = client.query_one(&statement, &[&number, &turn]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), number * 1000 + turn);
            let text = client
                .simple_query(&format!("SELECT '{number}-{turn}'"))
                .await
                .unwrap();
            let found = text.iter().find_map(|m| match m {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            assert_eq!(found, Some(format!("{number}-{turn}")));
        }
    });
    futures_util::future::join_all(work).await;
    let connections = world.server_connections().await;
    assert!(connections <= 4, "{connections} connections for a pool of 3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_statements_are_answered_in_order() {
    let world = World::start(pool(2)).await;
    let client = world.client().await;
    let statement = client.prepare("SELECT $1::int").await.unwrap();
    let params: Vec<i32> = (0..200).collect();
    let queries = params.iter().map(|n| {
        client.query_one(
            &statement,
            std::slice::from_ref(n)
                .iter()
                .map(|n| n as &(dyn tokio_postgres::types::ToSql + Sync))
                .collect::<Vec<_>>()
                .leak(),
        )
    });
    let rows = futures_util::future::join_all(queries).await;
    for (expected, row) in params.iter().zip(rows) {
        assert_eq!(row.unwrap().get::<_, i32>(0), *expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_in_a_transaction_leaves_nothing_behind() {
    let world = World::start(pool(1)).await;
    let setup = world.client().await;
    setup.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    {
        let client = world.client().await;
        client
            .batch_execute("BEGIN; INSERT INTO t VALUES (1)")
            .await
            .unwrap();
    }
    let row = setup.query_one("SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
    let admin = world.admin().await;
    eventually("no open transaction", || async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state LIKE 'idle in%'";
        admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_stops_the_query_of_its_client_only() {
    let world = World::start(pool(2)).await;
    let victim = world.client().await;
    let other = world.client().await;
    let token = victim.cancel_token();
    let (slept, slept_too, cancelled) = tokio::join!(
        victim.simple_query("SELECT pg_sleep(20)"),
        other.simple_query("SELECT pg_sleep(1)"),
        async {
            let admin = world.admin().await;
            eventually("both sleep", || async {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
                admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 2
            })
            .await;
            token.cancel_query(tokio_postgres::NoTls).await
        }
    );
    cancelled.unwrap();
    assert_eq!(code(&slept.unwrap_err()), "57014");
    slept_too.unwrap();
    victim.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_waits_its_turn_and_is_refused_after_the_wait() {
    let mut world = World::start(pool(1)).await;
    let holder = world.client().await;
    let waiter = world.client().await;
    world
        .publish(|s| s.database.pool.wait = std::time::Duration::from_millis(300))
        .await;
    holder.batch_execute("BEGIN").await.unwrap();
    let refused = waiter.simple_query("SELECT 1").await.unwrap_err();
    assert_eq!(code(&refused), "53300");
    let refused = waiter.query("SELECT $1::int", &[&1]).await.unwrap_err();
    assert_eq!(code(&refused), "53300");
    holder.batch_execute("COMMIT").await.unwrap();
    waiter.query("SELECT $1::int", &[&1]).await.unwrap();
}
