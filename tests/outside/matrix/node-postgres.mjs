// What apps do by node-postgres (`pg`), whose package has no tests: drivers.sh runs it straight and through the proxy.
// Where to connect is in PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { test as named } from 'node:test'
import pg from 'pg'
import copy from 'pg-copy-streams'

const LIMIT = { timeout: 60_000 }
const test = (name, body) => named(name, LIMIT, body)

async function connected(body, config = {}) {
  const client = new pg.Client(config)
  client.on('error', () => {})
  await client.connect()
  try {
    return await body(client)
  } finally {
    await client.end()
  }
}
const two = (body) => connected((one) => connected((other) => body(one, other)))
const value = async (client, text, values) => (await client.query({ text, values, rowMode: 'array' })).rows[0][0]
const fails = (code, promise) => assert.rejects(promise, (error) => assert.equal(error.code, code) ?? true)
async function table(client, columns, name = 'matrix') {
  await client.query(`DROP TABLE IF EXISTS ${name}; CREATE TABLE ${name} (${columns})`)
}

test('values_go_there_and_back', () => connected(async (client) => {
  const at = new Date('2024-02-29T12:34:56.789Z')
  const cases = [
    ['int4', 7], ['int8', '9007199254740993'], ['numeric', '123456789.000000001'], ['float8', 0.1], ['bool', true],
    ['text', 'käse \u{1F9C0}'], ['text', ''], ['text', null], ['bytea', Buffer.from([0, 1, 255])], ['timestamptz', at],
    ['jsonb', { a: [1, null, 'b'] }], ['int4[]', [1, null, 3]], ['text[]', ['a,b', '"', '{}']],
    ['uuid', '0b6f7d5a-3c1e-4f6e-9d8e-0a1b2c3d4e5f'], ['date[]', []],
  ]
  for (const [type, sent] of cases) {
    assert.deepEqual(await value(client, `SELECT $1::${type}`, [sent]), sent, type)
  }
}))

test('results_in_binary', () => connected(async (client) => {
  const { rows } = await client.query({ text: 'SELECT $1::int4 AS a, $2::text AS b', values: [1 << 30, 'x'], binary: true })
  assert.deepEqual(rows, [{ a: 1 << 30, b: 'x' }])
}))

test('several_statements_in_one_text', () => connected(async (client) => {
  const results = await client.query('SELECT 1 AS a; SELECT 2 AS b; SELECT 3 AS c WHERE false')
  assert.deepEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }], []])
  await table(client, 'a int')
  await fails('22012', client.query('INSERT INTO matrix VALUES (1); SELECT 1 / 0'))
  assert.equal(await value(client, 'SELECT count(*)::int4 FROM matrix'), 0)
}))

test('an_empty_text', () => connected(async (client) => {
  assert.deepEqual((await client.query('')).rows, [])
  assert.deepEqual((await client.query(' ;; ')).rows ?? [], [])
  assert.equal(await value(client, 'SELECT 1'), 1)
}))

test('queries_that_are_not_waited_for', () => connected(async (client) => {
  const numbers = Array.from({ length: 500 }, (_, number) => number)
  const answers = await Promise.all(numbers.map((number) => value(client, 'SELECT $1::int4', [number])))
  assert.deepEqual(answers, numbers)
}))

test('an_error_among_queries_that_are_not_waited_for', () => connected(async (client) => {
  const asked = ['SELECT 1', 'SELECT 1 / 0', 'SELECT 2', 'SELEKT', 'SELECT 3'].map((text) => value(client, text))
  const ends = await Promise.allSettled(asked)
  assert.deepEqual(ends.map((end) => end.value ?? end.reason.code), [1, '22012', 2, '42601', 3])
}))

test('one_name_with_another_text_in_each_client', async () => {
  const pool = new pg.Pool({ max: 30 })
  const clients = await Promise.all(Array.from({ length: 30 }, () => pool.connect()))
  for (let round = 0; round < 3; round++) {
    const answers = clients.map((client, number) => client.query({ name: 'same', text: `SELECT ${number} + $1::int4 AS n`, values: [round] }))
    assert.deepEqual((await Promise.all(answers)).map(({ rows }) => rows[0].n), clients.map((_, number) => number + round))
  }
  clients.forEach((client) => client.release())
  await pool.end()
})

test('a_named_statement_after_its_table_has_changed', () => connected(async (client) => {
  await table(client, 'a int')
  await client.query('INSERT INTO matrix VALUES (1)')
  const named = { name: 'all', text: 'SELECT * FROM matrix' }
  assert.deepEqual((await client.query(named)).rows, [{ a: 1 }])
  await client.query("ALTER TABLE matrix ADD COLUMN b text DEFAULT 'x'")
  await fails('0A000', client.query(named))
  assert.equal(await value(client, 'SELECT b FROM matrix'), 'x')
}))

test('named_statements_that_were_discarded', () => connected(async (client) => {
  const named = { name: 'one', text: 'SELECT 1 AS one' }
  await client.query(named)
  await client.query('DEALLOCATE one')
  await fails('26000', client.query(named))
  await client.query({ name: 'two', text: 'SELECT 2' })
  await client.query('DISCARD ALL')
  await fails('26000', client.query({ name: 'two', text: 'SELECT 2' }))
}))

test('statements_prepared_in_sql', () => connected(async (client) => {
  await client.query('PREPARE plus (int4) AS SELECT $1 + 1 AS n')
  assert.equal(await value(client, 'EXECUTE plus (41)'), 42)
  assert.equal(await value(client, "SELECT count(*)::int4 FROM pg_prepared_statements WHERE name = 'plus'"), 1)
  await client.query('DEALLOCATE plus')
  await fails('26000', client.query('EXECUTE plus (1)'))
}))

test('a_transaction_that_failed', () => connected(async (client) => {
  await table(client, 'a int PRIMARY KEY')
  await client.query('BEGIN')
  await client.query('INSERT INTO matrix VALUES (1)')
  await client.query('SAVEPOINT s')
  await fails('23505', client.query('INSERT INTO matrix VALUES ($1)', [1]))
  await fails('25P02', client.query('SELECT $1::int4', [1]))
  await client.query('ROLLBACK TO s')
  await client.query('INSERT INTO matrix VALUES ($1)', [2])
  await client.query('COMMIT')
  await client.query('BEGIN')
  await fails('42P01', client.query('SELECT * FROM nowhere'))
  assert.equal((await client.query('COMMIT')).command, 'ROLLBACK')
  assert.equal(await value(client, 'SELECT sum(a)::int4 FROM matrix'), 3)
}))

test('what_an_error_says', () => connected(async (client) => {
  await table(client, 'a int CONSTRAINT positive CHECK (a > 0)')
  const told = await client.query('INSERT INTO matrix VALUES (-1)').catch((error) => error)
  const { code, severity, schema, table: of, constraint, routine } = told
  assert.deepEqual([code, severity, schema, of, constraint, routine], ['23514', 'ERROR', 'public', 'matrix', 'positive', 'ExecConstraints'])
  assert.equal((await client.query('SELECT nothing').catch((error) => error)).position, '8')
}))

test('notices', () => connected(async (client) => {
  const heard = []
  client.on('notice', ({ severity, message }) => heard.push(`${severity} ${message}`))
  await client.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$")
  assert.deepEqual(heard, ['NOTICE one', 'WARNING two'])
}))

test('serializable_transactions_in_conflict', () => two(async (one, other) => {
  await table(one, 'a int')
  for (const client of [one, other]) {
    await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE')
    await client.query('SELECT sum(a) FROM matrix')
  }
  for (const client of [one, other]) await client.query('INSERT INTO matrix VALUES (1)')
  await one.query('COMMIT')
  await fails('40001', other.query('COMMIT'))
}))

test('a_deadlock', () => two(async (one, other) => {
  await table(one, 'a int')
  await one.query('INSERT INTO matrix VALUES (1), (2)')
  await one.query('BEGIN; UPDATE matrix SET a = a WHERE a = 1')
  await other.query('BEGIN; UPDATE matrix SET a = a WHERE a = 2')
  const ends = await Promise.allSettled([
    one.query('UPDATE matrix SET a = a WHERE a = 2').finally(() => one.query('ROLLBACK')),
    other.query('UPDATE matrix SET a = a WHERE a = 1').finally(() => other.query('ROLLBACK')),
  ])
  assert.deepEqual(ends.filter((end) => end.status === 'rejected').map((end) => end.reason.code), ['40P01'])
}))

test('a_query_is_cancelled', () => connected(async (client) => {
  const query = new pg.Query('SELECT pg_sleep(50)')
  const end = new Promise((resolve) => query.on('error', resolve).on('end', resolve))
  client.query(query)
  for (let over = false; !over;) {
    new pg.Client().cancel(client, query)
    over = await Promise.race([end.then(() => true), sleep(200, false)])
  }
  assert.equal((await end).code, '57014')
  // A cancel request that came late may be for the next one.
  await sleep(300)
  await client.query('SELECT 1').catch(() => {})
  assert.equal(await value(client, 'SELECT 1'), 1)
}))

test('statement_timeout', () => connected(async (client) => {
  await fails('57014', client.query('SELECT pg_sleep(50)'))
  await client.query('SET statement_timeout = 0')
  await client.query('SELECT pg_sleep(0.3)')
}, { statement_timeout: 100 }))

test('settings_at_the_log_in', () => connected(async (client) => {
  assert.equal(await value(client, 'SHOW work_mem'), '7MB')
  assert.equal(await value(client, 'SHOW application_name'), 'matrix')
  await client.query("SET work_mem = '9MB'; SET my.tenant = 'four'")
  await client.query("BEGIN; SET LOCAL work_mem = '11MB'; SET my.tenant = 'five'; ROLLBACK")
  assert.equal(await value(client, 'SHOW work_mem'), '9MB')
  assert.equal(await value(client, 'SHOW my.tenant'), 'four')
  await client.query('RESET ALL')
  assert.equal(await value(client, 'SHOW work_mem'), '7MB')
}, { options: '-c work_mem=7MB', application_name: 'matrix' }))

test('who_is_not_let_in', async () => {
  await fails('28P01', connected(() => {}, { password: 'wrong' }))
  await fails('28P01', connected(() => {}, { user: 'nobody' }))
  await assert.rejects(connected(() => {}, { ssl: true }), /does not support SSL/)
})

test('what_lives_in_a_session', () => two(async (one, other) => {
  await one.query('CREATE TEMP TABLE mine (a int)')
  await fails('42P01', other.query('SELECT * FROM mine'))
  await one.query('INSERT INTO mine VALUES (1)')
  assert.equal(await value(one, 'SELECT count(*)::int4 FROM mine'), 1)
  await one.query('SELECT pg_advisory_lock(4711)')
  assert.equal(await value(other, 'SELECT pg_try_advisory_lock(4711)'), false)
  await one.query('SELECT pg_advisory_unlock(4711)')
  assert.equal(await value(other, 'SELECT pg_try_advisory_lock(4711)'), true)
}))

test('a_lock_is_free_when_its_client_has_gone', () => connected(async (client) => {
  await connected((gone) => gone.query('SELECT pg_advisory_lock(4712)'))
  let free = false
  for (let tries = 0; tries < 100 && !free; tries++) {
    free = await value(client, 'SELECT pg_try_advisory_lock(4712)')
    await sleep(20)
  }
  assert.ok(free)
}))

test('currval_in_the_transaction_of_the_insert', () => connected(async (client) => {
  await table(client, 'id serial')
  await client.query('BEGIN; INSERT INTO matrix DEFAULT VALUES')
  assert.equal(await value(client, "SELECT currval('matrix_id_seq')::int4"), 1)
  await client.query('COMMIT')
}))

test('notifications', () => two(async (one, other) => {
  const heard = []
  one.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`))
  await one.query('LISTEN news; LISTEN "Other"')
  await other.query("NOTIFY news, 'one'")
  await other.query("BEGIN; NOTIFY news, 'undone'; ROLLBACK")
  await other.query('SELECT pg_notify($1, $2)', ['Other', 'two'])
  while (heard.length < 2) await once(one, 'notification')
  assert.deepEqual(heard, ['news one', 'Other two'])
  await one.query('UNLISTEN news')
  await other.query("NOTIFY news, 'three'")
  await other.query("NOTIFY \"Other\", 'four'")
  while (heard.length < 3) await once(one, 'notification')
  assert.deepEqual(heard.slice(2), ['Other four'])
}))

test('copy_in_and_out', () => connected(async (client) => {
  await table(client, 'a int, b text')
  const lines = function* () { for (let number = 0; number < 100_000; number++) yield `${number}\ttext ${number}\n` }
  await pipeline(Readable.from(lines()), client.query(copy.from('COPY matrix FROM STDIN')))
  assert.equal(await value(client, 'SELECT sum(a) FROM matrix'), '4999950000')
  let bytes = 0
  for await (const chunk of client.query(copy.to('COPY (SELECT * FROM matrix ORDER BY a) TO STDOUT'))) bytes += chunk.length
  assert.equal(bytes, [...lines()].join('').length)
  assert.equal(await value(client, 'SELECT 1'), 1)
}))

test('copy_that_fails', () => connected(async (client) => {
  await table(client, 'a int')
  await fails('22P02', pipeline(Readable.from(['1\n', 'x\n', '3\n']), client.query(copy.from('COPY matrix FROM STDIN'))))
  await fails('22012', pipeline(client.query(copy.to('COPY (SELECT 1 / (500 - n) FROM generate_series(1, 1000) n) TO STDOUT')), async function (out) {
    for await (const _ of out);
  }))
  assert.equal(await value(client, 'SELECT count(*)::int4 FROM matrix'), 0)
}))

test('large_values_and_many_parameters', () => connected(async (client) => {
  const large = 'x'.repeat(5_000_000)
  assert.equal(await value(client, 'SELECT $1::text', [large]), large)
  const many = Array.from({ length: 30_000 }, (_, number) => number)
  const text = `SELECT count(*)::int4 FROM (VALUES ${many.map((_, index) => `($${index + 1}::int4)`).join(',')}) v`
  assert.equal(await value(client, text, many), many.length)
  assert.equal((await client.query("SELECT n, repeat('y', 100) FROM generate_series(1, 200000) n")).rowCount, 200_000)
}))

test('more_clients_than_server_connections', async () => {
  const pool = new pg.Pool({ max: 60 })
  await pool.query('DROP TABLE IF EXISTS matrix; CREATE TABLE matrix (a int)')
  const work = Array.from({ length: 300 }, async (_, number) => {
    const client = await pool.connect()
    await client.query('BEGIN')
    await client.query('INSERT INTO matrix VALUES ($1)', [number])
    await client.query('SELECT pg_sleep(0.01)')
    await client.query(number % 3 ? 'COMMIT' : 'ROLLBACK')
    client.release()
  })
  await Promise.all(work)
  const { rows } = await pool.query('SELECT count(*)::int4 AS n FROM matrix')
  assert.equal(rows[0].n, 200)
  await pool.end()
})

test('a_client_that_leaves_within_a_transaction', () => connected(async (client) => {
  await table(client, 'a int')
  const gone = new pg.Client()
  gone.on('error', () => {})
  await gone.connect()
  await gone.query('BEGIN; INSERT INTO matrix VALUES (1); LOCK matrix')
  gone.connection.stream.destroy()
  await client.query('SET lock_timeout = 0; LOCK TABLE matrix IN ACCESS EXCLUSIVE MODE').catch(() => {})
  assert.equal(await value(client, 'SELECT count(*)::int4 FROM matrix'), 0)
}))
