-- plain reads
SELECT id, lower(comment) FROM t WHERE a = 1 ORDER BY id LIMIT 5
SELECT 1
VALUES (1), (2)
TABLE u
WITH x AS (SELECT * FROM t) SELECT * FROM x
WITH t AS (SELECT 1 AS id) SELECT * FROM t
SELECT random(), now(), gen_random_uuid(), clock_timestamp(), current_user
SELECT count(*), array_agg(a ORDER BY a), quiet_sum(a) FROM t
SELECT * FROM plain_view
SELECT * FROM counts
SELECT * FROM part
SELECT * FROM part1
SELECT * FROM guarded
SELECT * FROM plain
SELECT * FROM other.plain
SELECT comment % 'x', similarity(comment, 'y') FROM t
SELECT * FROM generate_series(1, 3)
SELECT c.relname, a.attname FROM pg_catalog.pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE c.oid = 't'::regclass
SELECT current_setting('app.user', true)
-- functions
SELECT stable_sql(1)
SELECT atomic_sql(1)
SELECT recursive_fn(3)
SELECT volatile_by_default(1)
SELECT stable_liar()
SELECT stable_dynamic('DELETE FROM t')
SELECT stable_setting()
SELECT writer('x')
SELECT dynamic_writer('x')
SELECT noisy_sum(a) FROM t
SELECT t.of_row FROM t
SELECT (t.*).of_row FROM t
SELECT * FROM crosstab('DELETE FROM t RETURNING 1') AS c(a int)
SELECT unknown_function(1)
SELECT nextval('t_id_seq')
SELECT pg_temp.lower('x')
-- relations
SELECT * FROM numbering_view
SELECT * FROM nested_view
SELECT * FROM locking_view
SELECT * FROM trapped
SELECT * FROM fast
SELECT last_value FROM t_id_seq
SELECT * FROM far_away
SELECT * FROM unknown_table
SELECT * FROM pg_locks
SELECT * FROM pg_settings
SELECT point(1,1) <=#=> point(2,2)
SELECT 1 !!!! 2
-- no reads by kind
SELECT * FROM t FOR SHARE
SELECT 1 INTO n
WITH gone AS (DELETE FROM u RETURNING *) SELECT * FROM gone
COPY t TO STDOUT
EXPLAIN SELECT * FROM t
EXPLAIN ANALYZE INSERT INTO plain VALUES (1)
SHOW work_mem
-- writes and what follows
INSERT INTO plain VALUES (1)
INSERT INTO public.plain VALUES (1)
INSERT INTO t(a) VALUES (1) RETURNING id
UPDATE t SET a = 2
DELETE FROM t
DELETE FROM u
INSERT INTO w VALUES (1)
INSERT INTO part VALUES (1, 1)
INSERT INTO part2 VALUES (1, 2)
INSERT INTO defaulted DEFAULT VALUES
INSERT INTO ruled VALUES (1)
UPDATE simple_view SET a = 1
MERGE INTO plain USING u ON plain.id = u.id WHEN MATCHED THEN DELETE
COPY log FROM STDIN
TRUNCATE t CASCADE
INSERT INTO log(what) SELECT stable_dynamic('x')
INSERT INTO unknown_table VALUES (1)
INSERT INTO plain SELECT unknown_function(1)
INSERT INTO plain SELECT lo_create(1)::int
INSERT INTO plain VALUES (nextval('t_id_seq'))
INSERT INTO log(what) SELECT xmlelement(name a)::text
-- utilities
CREATE TABLE x (id int)
CREATE TEMP TABLE x (id int)
DO 'begin end'
CALL p()
EXECUTE p
VACUUM t
NOTIFY c
COMMIT
COMMIT PREPARED 'x'
REFRESH MATERIALIZED VIEW counts
INSERT INTO t(id) VALUES (1) ON CONFLICT (id) DO UPDATE SET a = 1
UPDATE u SET id = 2
