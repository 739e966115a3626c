"""What apps do by psycopg 3, whose package has no tests: drivers.sh runs it straight and through the proxy.

Where to connect is in PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.
"""

import asyncio
import datetime
import decimal
import threading
import uuid

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, ConnectionPool


@pytest.fixture
def connection():
    with psycopg.connect(autocommit=True, connect_timeout=10) as connection:
        yield connection


@pytest.fixture
def other():
    with psycopg.connect(autocommit=True, connect_timeout=10) as connection:
        yield connection


@pytest.fixture
def table(connection):
    connection.execute("DROP TABLE IF EXISTS matrix")
    connection.execute("CREATE TABLE matrix (a int PRIMARY KEY, b text)")
    return "matrix"


def value(connection, query, parameters=None, **more):
    return connection.execute(query, parameters, **more).fetchone()[0]


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("sent", [
    7, 2**40, decimal.Decimal("1.000000000001"), 0.1, True, "käse", "", None, b"\0\1\xff", uuid.UUID(int=7),
    datetime.datetime(2024, 2, 29, 12, 34, 56, 789, datetime.timezone.utc), datetime.timedelta(days=1, seconds=2),
    [1, None, 3], ["a,b", '"', "{}"], Jsonb({"a": [1, None]}),
], ids=lambda sent: type(sent).__name__ + str(sent)[:12].replace(" ", "_"))
def test_values_go_there_and_back(connection, sent, binary):
    cursor = connection.cursor(binary=binary)
    cast = "::text[]" if sent == ["a,b", '"', "{}"] else "::text" if sent is None else ""
    got = cursor.execute(f"SELECT %s{cast}", [sent]).fetchone()[0]
    assert got == (sent.obj if isinstance(sent, Jsonb) else sent)


def test_types_of_ones_own(connection):
    connection.execute("DROP TYPE IF EXISTS point3; CREATE TYPE point3 AS (x int, y int, name text)")
    info = psycopg.types.composite.CompositeInfo.fetch(connection, "point3")
    psycopg.types.composite.register_composite(info, connection)
    assert tuple(value(connection, "SELECT ROW(1, 2, 'x')::point3")) == (1, 2, "x")
    connection.execute("DROP TYPE point3")


def test_statements_are_prepared_after_five_times(connection, other):
    for number in range(20):
        for one in (connection, other):
            assert value(one, "SELECT %s::int4 + 1", [number]) == number + 1
    for number in range(200):
        query = f"SELECT %s::int4 + {number}"
        assert value(connection, query, [1], prepare=True) == number + 1


def test_a_prepared_statement_after_its_table_has_changed(connection, table):
    connection.execute("INSERT INTO matrix VALUES (1, 'x')")
    everything = "SELECT * FROM matrix WHERE a = %s"
    for _ in range(10):
        assert connection.execute(everything, [1]).fetchone() == (1, "x")
    connection.execute("ALTER TABLE matrix ADD c int DEFAULT 3")
    try:
        got = connection.execute(everything, [1]).fetchone()
    except errors.FeatureNotSupported:
        got = "0A000"
    assert got == "0A000"
    connection.execute("DEALLOCATE ALL")
    assert connection.execute("SELECT * FROM matrix WHERE a = %s::int4", [1]).fetchone() == (1, "x", 3)


def test_a_pipeline(connection, table):
    with connection.pipeline():
        for number in range(500):
            connection.execute("INSERT INTO matrix VALUES (%s, %s)", [number, "x"])
        counted = connection.execute("SELECT count(*) FROM matrix")
        again = connection.execute("SELECT %s::text", ["y"], prepare=True)
    assert counted.fetchone() == (500,)
    assert again.fetchone() == ("y",)


def test_a_pipeline_with_an_error(connection, table):
    connection.execute("INSERT INTO matrix VALUES (1, 'x')")
    with pytest.raises(errors.UniqueViolation):
        with connection.pipeline():
            connection.execute("INSERT INTO matrix VALUES (2, 'undone')")
            connection.execute("INSERT INTO matrix VALUES (1, 'twice')")
            connection.execute("INSERT INTO matrix VALUES (3, 'undone')")
    assert value(connection, "SELECT count(*) FROM matrix") == 1


def test_a_pipeline_with_syncs(connection, table):
    with connection.pipeline() as pipeline:
        first = connection.execute("INSERT INTO matrix VALUES (1, 'x') RETURNING a")
        pipeline.sync()
        assert first.fetchone() == (1,)
        with pytest.raises(errors.UniqueViolation):
            connection.execute("INSERT INTO matrix VALUES (1, 'twice')").fetchone()
        pipeline.sync()
        connection.execute("INSERT INTO matrix VALUES (2, 'x')")
    assert value(connection, "SELECT count(*) FROM matrix") == 2


def test_transactions_in_a_pipeline(connection, table):
    with connection.pipeline():
        with connection.transaction():
            connection.execute("INSERT INTO matrix VALUES (1, 'x')")
        with connection.transaction(force_rollback=True):
            connection.execute("INSERT INTO matrix VALUES (2, 'x')")
    assert value(connection, "SELECT count(*) FROM matrix") == 1


def test_executemany(connection, table):
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO matrix VALUES (%s, %s) RETURNING a", [(n, "x") for n in range(1000)], returning=True)
    seen = [cursor.fetchone()[0]]
    while cursor.nextset():
        seen.append(cursor.fetchone()[0])
    assert seen == list(range(1000))
    with pytest.raises(errors.UniqueViolation):
        cursor.executemany("INSERT INTO matrix VALUES (%s, %s)", [(1000, "x"), (1, "twice"), (1001, "x")])
    assert value(connection, "SELECT count(*) FROM matrix") == 1000


def test_transactions_within_transactions(connection, table):
    with connection.transaction():
        connection.execute("INSERT INTO matrix VALUES (1, 'x')")
        with pytest.raises(errors.UniqueViolation):
            with connection.transaction():
                connection.execute("INSERT INTO matrix VALUES (1, 'twice')")
        with connection.transaction():
            connection.execute("INSERT INTO matrix VALUES (2, 'x')")
    assert value(connection, "SELECT count(*) FROM matrix") == 2


def test_a_transaction_that_failed(table):
    with psycopg.connect() as connection:
        with pytest.raises(errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        with pytest.raises(errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        assert value(connection, "SELECT 1") == 1
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel))
def test_isolation_levels(connection, level):
    connection.autocommit = False
    connection.isolation_level = level
    assert value(connection, "SHOW transaction_isolation") == level.name.lower().replace("_", " ")
    connection.rollback()


def test_two_phases(connection, other, table):
    xid = connection.xid(1, "matrix", "one")
    connection.autocommit = False
    connection.tpc_begin(xid)
    connection.execute("INSERT INTO matrix VALUES (1, 'x')")
    connection.tpc_prepare()
    assert [found.gtrid for found in other.tpc_recover()] == ["matrix"]
    connection.tpc_commit()
    assert value(other, "SELECT count(*) FROM matrix") == 1


def test_a_cursor_of_the_server(connection):
    with connection.transaction(), connection.cursor("named", scrollable=True) as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        assert [row[0] for row in cursor] == list(range(1, 1001))
        cursor.scroll(10, mode="absolute")
        assert cursor.fetchone() == (11,)


def test_a_cursor_that_outlives_its_transaction(connection, other):
    with connection.transaction():
        cursor = connection.cursor("held", withhold=True)
        cursor.execute("SELECT n FROM generate_series(1, 10) n")
    for _ in range(5):
        value(other, "SELECT 1")
    assert len(cursor.fetchall()) == 10
    cursor.close()


def test_rows_one_by_one(connection):
    rows = connection.cursor(row_factory=dict_row).stream("SELECT n FROM generate_series(1, 5000) n")
    assert sum(row["n"] for row in rows) == 12_502_500
    assert value(connection, "SELECT 1") == 1


def test_rows_one_by_one_that_are_left(connection):
    stream = connection.cursor().stream("SELECT n FROM generate_series(1, 500000) n")
    next(stream)
    stream.close()
    assert value(connection, "SELECT 2") == 2


@pytest.mark.parametrize("form", ["text", "binary"])
def test_copy_in_and_out(connection, table, form):
    binary = sql.SQL("(FORMAT binary)" if form == "binary" else "")
    with connection.cursor().copy(sql.SQL("COPY matrix FROM STDIN {}").format(binary)) as copy:
        copy.set_types(["int4", "text"])
        for number in range(20_000):
            copy.write_row((number, f"text {number}"))
    assert value(connection, "SELECT sum(a) FROM matrix") == 199_990_000
    query = sql.SQL("COPY (SELECT * FROM matrix ORDER BY a) TO STDOUT {}").format(binary)
    with connection.cursor().copy(query) as copy:
        copy.set_types(["int4", "text"])
        assert list(copy.rows()) == [(number, f"text {number}") for number in range(20_000)]


def test_copy_that_fails(connection, table):
    with pytest.raises(errors.BadCopyFileFormat):
        with connection.cursor().copy("COPY matrix FROM STDIN") as copy:
            copy.write("1\n2\tx\n")
    with pytest.raises(ZeroDivisionError):
        with connection.cursor().copy("COPY matrix FROM STDIN") as copy:
            copy.write_row((1, "x"))
            raise ZeroDivisionError
    with pytest.raises(errors.DivisionByZero):
        with connection.cursor().copy("COPY (SELECT 1 / (500 - n) FROM generate_series(1, 1000) n) TO STDOUT") as copy:
            list(copy.rows())
    assert value(connection, "SELECT count(*) FROM matrix") == 0


def test_copy_that_is_left(connection):
    with pytest.raises(ZeroDivisionError):
        with connection.cursor().copy("COPY (SELECT n FROM generate_series(1, 1000000) n) TO STDOUT") as copy:
            next(iter(copy.rows()))
            raise ZeroDivisionError
    assert value(connection, "SELECT 3") == 3


def test_notifications(connection, other):
    connection.execute("LISTEN news")
    other.execute("NOTIFY news, 'one'")
    other.execute("SELECT pg_notify('news', %s)", ["two"])
    heard = [notify.payload for notify in connection.notifies(timeout=20, stop_after=2)]
    assert heard == ["one", "two"]


def test_notices(connection):
    heard = []
    connection.add_notice_handler(lambda diagnostic: heard.append((diagnostic.severity, diagnostic.message_primary)))
    connection.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
    assert heard == [("NOTICE", "one"), ("WARNING", "two")]


def test_a_query_is_cancelled(connection):
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        connection.execute("SELECT pg_sleep(50)")
    timer.join()
    assert value(connection, "SELECT 1") == 1


def test_a_query_is_cancelled_in_a_pipeline(connection):
    timer = threading.Timer(0.5, connection.cancel)
    timer.start()
    with pytest.raises(errors.QueryCanceled):
        with connection.pipeline():
            connection.execute("SELECT pg_sleep(50)")
            connection.execute("SELECT 1")
    timer.join()
    assert value(connection, "SELECT 1") == 1


def test_what_an_error_says(connection, table):
    connection.execute("INSERT INTO matrix VALUES (1, 'x')")
    with pytest.raises(errors.UniqueViolation) as raised:
        connection.execute("INSERT INTO matrix VALUES (%s, 'x')", [1])
    told = raised.value.diag
    assert (told.sqlstate, told.table_name, told.constraint_name) == ("23505", "matrix", "matrix_pkey")
    assert told.message_detail == "Key (a)=(1) already exists."


def test_settings(connection, other):
    connection.execute("SET work_mem = '9MB'")
    connection.execute("SELECT set_config('my.tenant', %s, false)", ["four"])
    value(other, "SELECT 1")
    assert value(connection, "SHOW work_mem") == "9MB"
    assert value(connection, "SELECT current_setting('my.tenant')") == "four"
    assert value(other, "SHOW work_mem") == "4MB"
    connection.execute("SET client_encoding = 'LATIN1'")
    assert connection.info.encoding == "iso8859-1"
    assert value(connection, "SELECT 'käse'") == "käse"
    connection.execute("SET TIME ZONE 'Asia/Tokyo'")
    assert str(connection.info.timezone) == "Asia/Tokyo"


def test_settings_at_the_log_in():
    with psycopg.connect(options="-c work_mem=7MB", application_name="matrix") as connection:
        assert value(connection, "SHOW work_mem") == "7MB"
        assert connection.info.parameter_status("application_name") == "matrix"
        assert connection.info.server_version >= 150000


def test_what_lives_in_a_session(connection, other):
    connection.execute("CREATE TEMP TABLE mine (a int)")
    with pytest.raises(errors.UndefinedTable):
        other.execute("SELECT * FROM mine")
    connection.execute("SELECT pg_advisory_lock(4713)")
    assert value(other, "SELECT pg_try_advisory_lock(4713)") is False
    connection.close()


def test_who_is_not_let_in():
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(user="nobody")


def test_a_pool_of_connections(connection, table):
    def work(number):
        with pool.connection() as one:
            one.execute("INSERT INTO matrix VALUES (%s, 'x')", [number])
            one.execute("SELECT pg_sleep(0.01)")

    with ConnectionPool(min_size=4, max_size=40, check=ConnectionPool.check_connection) as pool:
        threads = [threading.Thread(target=work, args=[number]) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert value(connection, "SELECT count(*) FROM matrix") == 200


def test_asynchronously(connection, table):
    async def work(pool, number):
        async with pool.connection() as one:
            async with one.pipeline():
                await one.execute("INSERT INTO matrix VALUES (%s, 'x')", [number])
                cursor = await one.execute("SELECT %s::int4", [number])
            return (await cursor.fetchone())[0]

    async def everything():
        async with AsyncConnectionPool(min_size=4, max_size=40) as pool:
            return await asyncio.gather(*(work(pool, number) for number in range(200)))

    assert asyncio.run(everything()) == list(range(200))
    assert value(connection, "SELECT count(*) FROM matrix") == 200


def test_a_task_that_is_cancelled():
    async def everything():
        async with await psycopg.AsyncConnection.connect(autocommit=True) as one:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(one.execute("SELECT pg_sleep(50)"), 0.5)
            return await (await one.execute("SELECT 1")).fetchone()

    assert asyncio.run(everything()) == (1,)


def test_large_values(connection):
    large = "x" * 5_000_000
    assert value(connection, "SELECT %s::text", [large]) == large
    assert value(connection, "SELECT %b::bytea", [large.encode()]) == large.encode()
