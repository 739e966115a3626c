//! However a row is changed: ways that a statement's first word does not show.

use banyan_topology::snapshot::pgproxy::Reads;

use crate::replicated::{Replicated, simple};

/// Ways to change a row that a statement's first word does not show; then what another client must read.
const WAYS: [(&str, &str, &str); 21] = [
    ("INSERT INTO t VALUES (1, 'a')", "SELECT count(*) FROM t", "1"),
    (
        "WITH new AS (INSERT INTO t VALUES (2, 'b') RETURNING id) SELECT id FROM new",
        "SELECT count(*) FROM t",
        "2",
    ),
    ("SELECT add('c')", "SELECT count(*) FROM t", "3"),
    (
        "INSERT INTO child VALUES (1, 1), (2, 2), (3, 3)",
        "SELECT count(*) FROM child",
        "3",
    ),
    ("DELETE FROM t WHERE id = 3", "SELECT count(*) FROM child", "2"),
    ("UPDATE child SET id = id + 10", "SELECT n FROM audited", "2"),
    (
        "UPDATE seen SET what = 'z' WHERE id = 1",
        "SELECT what FROM t WHERE id = 1",
        "z",
    ),
    (
        "DO $$ BEGIN UPDATE t SET what = 'done' WHERE id = 1; END $$",
        "SELECT what FROM t WHERE id = 1",
        "done",
    ),
    (
        "CALL change('called')",
        "SELECT what FROM t WHERE id = 1",
        "called",
    ),
    (
        "SELECT 1; UPDATE t SET what = 'batch' WHERE id = 1; SELECT 2",
        "SELECT what FROM t WHERE id = 1",
        "batch",
    ),
    (
        "PREPARE p AS UPDATE t SET what = $1 WHERE id = 1; EXECUTE p('executed')",
        "SELECT what FROM t WHERE id = 1",
        "executed",
    ),
    (
        "BEGIN; UPDATE t SET what = 'tx' WHERE id = 1; SAVEPOINT a; DELETE FROM t; ROLLBACK TO a; COMMIT",
        "SELECT what FROM t WHERE id = 1",
        "tx",
    ),
    (
        "MERGE INTO t USING (VALUES (1)) m(id) ON t.id = m.id WHEN MATCHED THEN UPDATE SET what = 'merged'",
        "SELECT what FROM t WHERE id = 1",
        "merged",
    ),
    (
        "EXPLAIN ANALYZE UPDATE t SET what = 'explained' WHERE id = 1",
        "SELECT what FROM t WHERE id = 1",
        "explained",
    ),
    (
        "INSERT INTO parts VALUES (1), (2)",
        "SELECT count(*) FROM parts_2",
        "1",
    ),
    ("DELETE FROM parts_2", "SELECT count(*) FROM parts", "1"),
    ("INSERT INTO ruled VALUES (1)", "SELECT n FROM audited", "3"),
    ("REFRESH MATERIALIZED VIEW totals", "SELECT n FROM totals", "2"),
    ("CREATE TABLE made AS SELECT 5 AS n", "SELECT n FROM made", "5"),
    ("ALTER TABLE made RENAME COLUMN n TO m", "SELECT m FROM made", "5"),
    ("TRUNCATE t CASCADE", "SELECT count(*) FROM child", "0"),
];

const WAYS_SCHEMA: &str = "
    CREATE TABLE t (id int PRIMARY KEY, what text);
    CREATE TABLE child (id int, t_id int REFERENCES t ON DELETE CASCADE);
    CREATE TABLE audited (n bigint);
    INSERT INTO audited VALUES (0);
    CREATE VIEW seen AS SELECT id, what FROM t;
    CREATE FUNCTION add(text) RETURNS void LANGUAGE sql AS 'INSERT INTO t SELECT max(id) + 1, $1 FROM t';
    CREATE PROCEDURE change(text) LANGUAGE sql AS 'UPDATE t SET what = $1 WHERE id = 1';
    CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE audited SET n = n + 1; RETURN NULL; END';
    CREATE TRIGGER audit AFTER UPDATE ON child FOR EACH ROW EXECUTE FUNCTION count_up();
    CREATE TABLE parts (k int) PARTITION BY LIST (k);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
    CREATE TABLE ruled (k int);
    CREATE RULE also AS ON INSERT TO ruled DO ALSO UPDATE audited SET n = n + 1;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM t;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_a_row_is_changed_the_next_read_of_anybody_sees_it() {
    let replicated = Replicated::start(&[&["recovery_min_apply_delay=150ms"]], Reads::Fresh).await;
    let (writer, reader) = (replicated.world.client().await, replicated.world.client().await);
    writer.batch_execute(WAYS_SCHEMA).await.unwrap();
    for (write, read, wanted) in WAYS {
        writer.batch_execute(write).await.unwrap();
        assert_eq!(simple(&reader, read).await, [wanted], "{read} after {write}");
    }
}
