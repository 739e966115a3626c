//! What belongs to a session stays with its client, whatever backend serves it.

use crate::world::{World, code, one, pool};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_follow_their_client_and_leak_to_nobody() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("SET work_mem = '7MB'; SET my.tenant = 'a'")
        .await
        .unwrap();
    b.batch_execute("SET TimeZone = 'Asia/Tokyo'").await.unwrap();
    assert_ne!(one(&b, "SELECT current_setting('my.tenant', true)").await, "a");
    assert_eq!(one(&b, "SHOW work_mem").await, "4MB");
    assert_eq!(one(&a, "SHOW work_mem").await, "7MB");
    assert_eq!(one(&a, "SHOW my.tenant").await, "a");
    assert_ne!(one(&a, "SHOW TimeZone").await, "Asia/Tokyo");
    assert_eq!(one(&b, "SHOW TimeZone").await, "Asia/Tokyo");
    a.batch_execute("RESET work_mem").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "4MB");
    a.batch_execute("DISCARD ALL").await.unwrap();
    assert_ne!(one(&a, "SELECT current_setting('my.tenant', true)").await, "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_takes_settings_back_and_a_savepoint_too() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("BEGIN; SET work_mem = '9MB'").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "9MB");
    a.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "4MB");
    a.batch_execute("BEGIN; SET work_mem = '5MB'; SAVEPOINT s; SET work_mem = '6MB'; ROLLBACK TO s; COMMIT")
        .await
        .unwrap();
    assert_eq!(one(&b, "SHOW work_mem").await, "4MB");
    assert_eq!(one(&a, "SHOW work_mem").await, "5MB");
    a.batch_execute("BEGIN; SET LOCAL work_mem = '8MB'; COMMIT")
        .await
        .unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "5MB");
    a.query("SELECT set_config('work_mem', '3MB', false)", &[])
        .await
        .unwrap();
    assert_eq!(one(&b, "SHOW work_mem").await, "4MB");
    assert_eq!(one(&a, "SHOW work_mem").await, "3MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_not_inherited_by_the_next_client() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("SET ROLE team").await.unwrap();
    assert_eq!(one(&b, "SELECT current_user").await, "app");
    assert_eq!(one(&a, "SELECT current_user").await, "team");
    a.batch_execute("RESET ROLE").await.unwrap();
    assert_eq!(one(&a, "SELECT current_user").await, "app");
    assert_eq!(one(&b, "SELECT current_user").await, "app");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn startup_options_are_the_values_that_reset_goes_back_to() {
    let world = World::start(pool(1)).await;
    let mut config = world.config();
    config
        .application_name("shop")
        .options("-c work_mem=2MB -c search_path=x,public");
    let a = world.connect(&config).await.unwrap();
    let b = world.client().await;
    assert_eq!(one(&b, "SHOW application_name").await, "");
    assert_eq!(one(&a, "SHOW application_name").await, "shop");
    a.batch_execute("SET work_mem = '8MB'; SET search_path = y")
        .await
        .unwrap();
    a.batch_execute("RESET work_mem").await.unwrap();
    assert_eq!(one(&b, "SHOW search_path").await, "\"$user\", public");
    assert_eq!(one(&a, "SHOW work_mem").await, "2MB");
    assert_eq!(one(&a, "SHOW search_path").await, "y");
    a.batch_execute("RESET ALL").await.unwrap();
    assert_eq!(one(&b, "SELECT 1").await, "1");
    assert_eq!(one(&a, "SHOW search_path").await, "x,public");
    config.options("-c work_mem=nonsense");
    assert_eq!(code(&world.connect(&config).await.err().unwrap()), "08006");
}

/// What follows at once must not overtake the question what the session is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_goes_back_to_what_the_client_asked_for_at_its_start() {
    let world = World::start(pool(1)).await;
    let mut config = world.config();
    config.options("-c work_mem=2MB");
    let a = world.connect(&config).await.unwrap();
    for value in ["8MB", "4MB", "2MB"] {
        a.batch_execute(&format!("SET work_mem = '{value}'"))
            .await
            .unwrap();
        let (reset, shown) = tokio::join!(a.batch_execute("RESET work_mem"), one(&a, "SHOW work_mem"));
        reset.unwrap();
        assert_eq!(shown, "2MB", "after {value}");
    }
    a.batch_execute("SET work_mem = '4MB'").await.unwrap();
    a.batch_execute("BEGIN; RESET work_mem; ROLLBACK").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "4MB");
    a.batch_execute("CREATE TEMP TABLE pinned (x int)").await.unwrap();
    a.batch_execute("RESET work_mem").await.unwrap();
    assert_eq!(one(&a, "SHOW work_mem").await, "2MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_work_on_any_backend_under_the_clients_names() {
    let world = World::start(pool(2)).await;
    let (a, b, c) = (world.client().await, world.client().await, world.client().await);
    let first = a.prepare("SELECT 'a' || $1::text").await.unwrap();
    let second = b.prepare("SELECT 'b' || $1::text").await.unwrap();
    for turn in 0..20 {
        if turn % 3 == 0 {
            c.batch_execute("BEGIN").await.unwrap();
        }
        let row = a.query_one(&first, &[&turn.to_string()]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("a{turn}"));
        let row = b.query_one(&second, &[&turn.to_string()]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), format!("b{turn}"));
        if turn % 3 == 1 {
            c.batch_execute("COMMIT").await.unwrap();
        }
    }
    assert_eq!(code(&a.prepare("SELECT nothing").await.err().unwrap()), "42703");
    a.query_one(&first, &[&"x"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepare_and_execute_in_sql_keep_the_backend_until_deallocated() {
    let world = World::start(pool(2)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("PREPARE mine(int) AS SELECT $1 + 1")
        .await
        .unwrap();
    for _ in 0..3 {
        b.batch_execute("BEGIN; SELECT 1; COMMIT").await.unwrap();
        assert_eq!(one(&a, "EXECUTE mine(4)").await, "5");
    }
    assert_eq!(
        code(&b.simple_query("EXECUTE mine(4)").await.unwrap_err()),
        "26000"
    );
    a.batch_execute("DEALLOCATE mine").await.unwrap();
    assert_eq!(
        code(&a.simple_query("EXECUTE mine(4)").await.unwrap_err()),
        "26000"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn temporary_tables_and_session_locks_keep_their_backend_and_are_gone_with_the_client() {
    let world = World::start(pool(4)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("CREATE TEMP TABLE mine (a int)").await.unwrap();
    b.batch_execute("SELECT pg_advisory_lock(42)").await.unwrap();
    let c = world.client().await;
    for _ in 0..3 {
        a.batch_execute("INSERT INTO mine VALUES (1)").await.unwrap();
        assert_eq!(
            code(&c.simple_query("SELECT * FROM mine").await.unwrap_err()),
            "42P01"
        );
        assert_eq!(one(&c, "SELECT pg_try_advisory_lock(42)").await, "f");
    }
    drop(b);
    crate::world::eventually("the lock is gone", || async {
        let got = one(&c, "SELECT pg_try_advisory_lock(42)").await == "t";
        if got {
            c.batch_execute("SELECT pg_advisory_unlock(42)").await.unwrap();
        }
        got
    })
    .await;
    a.batch_execute("DROP TABLE mine").await.unwrap();
    assert_eq!(
        code(&a.simple_query("SELECT * FROM mine").await.unwrap_err()),
        "42P01"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lastval_is_never_another_clients() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("CREATE TABLE s (id serial, x int); CREATE TABLE r (id serial, x int)")
        .await
        .unwrap();
    a.batch_execute("INSERT INTO s (x) VALUES (1)").await.unwrap();
    assert_eq!(one(&a, "SELECT lastval()").await, "1");
    a.batch_execute("INSERT INTO s (x) VALUES (1)").await.unwrap();
    assert_eq!(one(&a, "SELECT lastval()").await, "2");
    drop(a);
    let error = b.simple_query("SELECT lastval()").await.unwrap_err();
    assert_eq!(code(&error), "55000");
    let error = b.simple_query("BEGIN; SELECT lastval()").await.unwrap_err();
    assert_eq!(code(&error), "55000");
}

/// An app that reads sequences keeps server connections after its INSERTs: not so many that others wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_insert_and_stay_than_there_are_server_connections() {
    let world = World::start(pool(4)).await;
    let first = world.client().await;
    first.batch_execute("CREATE TABLE t (id serial)").await.unwrap();
    first
        .batch_execute("BEGIN; INSERT INTO t DEFAULT VALUES")
        .await
        .unwrap();
    assert_eq!(one(&first, "SELECT lastval()").await, "1");
    first.batch_execute("COMMIT").await.unwrap();
    let mut clients = vec![first];
    for _ in 0..8 {
        let client = world.client().await;
        client
            .batch_execute("INSERT INTO t DEFAULT VALUES")
            .await
            .unwrap();
        clients.push(client);
    }
    for client in &clients {
        assert_eq!(one(client, "SELECT count(*) FROM t").await, "9");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_change_of_a_table_statements_are_parsed_anew() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("CREATE TABLE t (x int); INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let before = a.prepare("SELECT * FROM t").await.unwrap();
    assert_eq!(a.query(&before, &[]).await.unwrap()[0].len(), 1);
    a.batch_execute("ALTER TABLE t ADD y int DEFAULT 2")
        .await
        .unwrap();
    // Its own statement: as with PostgreSQL.
    assert_eq!(code(&a.query(&before, &[]).await.unwrap_err()), "0A000");
    let after = b.prepare("SELECT * FROM t").await.unwrap();
    assert_eq!(b.query(&after, &[]).await.unwrap()[0].len(), 2);
}

/// Both backends hold the text as it was; PostgreSQL refuses that, and nobody who prepares it now is to see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_prepares_a_text_after_a_change_gets_its_new_rows_on_every_backend() {
    const SQL: &str = "SELECT * FROM widened";
    let world = World::start(pool(2)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("CREATE TABLE widened AS SELECT 1 AS x")
        .await
        .unwrap();
    let (mut a, mut b) = (a, b);
    {
        let (first, second) = (a.transaction().await.unwrap(), b.transaction().await.unwrap());
        for transaction in [&first, &second] {
            assert_eq!(transaction.query(SQL, &[]).await.unwrap()[0].len(), 1);
        }
    }
    for (columns, change) in [
        (2, "ALTER TABLE widened ADD y int"),
        (1, "BEGIN; ALTER TABLE widened DROP y; COMMIT"),
    ] {
        a.batch_execute(change).await.unwrap();
        let (first, second) = (a.transaction().await.unwrap(), b.transaction().await.unwrap());
        for transaction in [&first, &second] {
            assert_eq!(transaction.query(SQL, &[]).await.unwrap()[0].len(), columns);
        }
    }
}

/// A server that holds the text from before gives it the types of before; so many clients are at all workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_prepares_a_text_after_a_change_gets_the_types_of_its_parameters_whoever_changed_it() {
    let world = World::start(pool(4)).await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(world.client().await);
    }
    for name in ["int4", "text", "date", "int4"] {
        let sql = format!("DROP TABLE IF EXISTS typed; CREATE TABLE typed (v {name})");
        clients[0].batch_execute(&sql).await.unwrap();
        for client in &clients {
            let insert = client.prepare("INSERT INTO typed VALUES ($1)").await.unwrap();
            assert_eq!(insert.params()[0].name(), name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_no_longer_fits_takes_nothing_with_it_that_was_prepared_in_sql() {
    let world = World::start(pool(2)).await;
    let client = world.client().await;
    for sql in [
        "CREATE TABLE changing AS SELECT 7 AS a",
        "PREPARE mine AS SELECT * FROM changing",
        "EXECUTE mine",
        "ALTER TABLE changing ADD b int",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    assert_eq!(
        code(&client.batch_execute("EXECUTE mine").await.unwrap_err()),
        "0A000"
    );
    client.batch_execute("ALTER TABLE changing DROP b").await.unwrap();
    assert_eq!(one(&client, "EXECUTE mine").await, "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_session_mode_a_client_keeps_its_backend_from_login_to_end() {
    let mut settings = pool(2);
    settings.mode = banyan_config::PoolMode::Session;
    let mut world = World::start(settings).await;
    let a = world.client().await;
    let pid = one(&a, "SELECT pg_backend_pid()").await;
    a.batch_execute("SET work_mem = '3MB'; CREATE TEMP TABLE mine (a int)")
        .await
        .unwrap();
    let b = world.client().await;
    assert_ne!(one(&b, "SELECT pg_backend_pid()").await, pid);
    assert_eq!(one(&a, "SELECT pg_backend_pid()").await, pid);
    world
        .publish(|s| s.database.pool.wait = std::time::Duration::from_millis(300))
        .await;
    assert_eq!(
        code(&world.connect(&world.config()).await.err().unwrap()),
        "53300"
    );
    drop(a);
    crate::world::eventually("a backend is free", || async {
        world.connect(&world.config()).await.is_ok()
    })
    .await;
    assert_eq!(one(&b, "SHOW work_mem").await, "4MB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_reach_a_client_that_listens() {
    use futures_util::StreamExt as _;
    let world = World::start(pool(3)).await;
    let (client, mut connection) = world.config().connect(tokio_postgres::NoTls).await.unwrap();
    let mut messages = futures_util::stream::poll_fn(move |cx| connection.poll_message(cx)).boxed();
    let heard = async {
        loop {
            match messages.next().await {
                Some(Ok(tokio_postgres::AsyncMessage::Notification(found))) => {
                    return found.payload().to_owned();
                }
                Some(Ok(_)) => {}
                other => panic!("{:?}", other.map(|m| m.is_ok())),
            }
        }
    };
    let other = world.client().await;
    let talk = async {
        client.batch_execute("LISTEN news").await.unwrap();
        other
            .batch_execute("BEGIN; NOTIFY news, 'never'; ROLLBACK")
            .await
            .unwrap();
        other
            .batch_execute("BEGIN; NOTIFY news, 'hello'; COMMIT")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    let heard = async {
        tokio::select! {
            heard = heard => heard,
            () = talk => String::new(),
        }
    };
    let heard = tokio::time::timeout(std::time::Duration::from_secs(60), heard)
        .await
        .unwrap();
    assert_eq!(heard, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_cannot_be_restored_ends_instead_of_running_as_somebody_else() {
    let world = World::start(pool(1)).await;
    let (a, b) = (world.client().await, world.client().await);
    a.batch_execute("SET ROLE team").await.unwrap();
    b.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    world
        .admin()
        .await
        .batch_execute("REVOKE team FROM app")
        .await
        .unwrap();
    let refused = a.simple_query("INSERT INTO t VALUES (1)").await.unwrap_err();
    assert_eq!(code(&refused), "08006");
    assert_eq!(one(&b, "SELECT count(*) FROM t").await, "0");
    assert_eq!(one(&b, "SELECT current_user").await, "app");
}
