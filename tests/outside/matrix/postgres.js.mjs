// What apps do by postgres.js, whose package has no tests: drivers.sh runs it straight and through the proxy. It prepares
// what it sends, sends without waiting, and asks for the types at its first query.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { test as named } from 'node:test'
import postgres from 'postgres'

const LIMIT = { timeout: 60_000 }

/** A case with connections of its own. */
function test(name, body, options = {}) {
  named(name, LIMIT, async () => {
    const sql = postgres({ max: 5, onnotice: () => {}, ...options })
    try {
      await body(sql)
    } finally {
      await sql.end({ timeout: 5 })
    }
  })
}
const fails = (code, promise) => assert.rejects(promise, (error) => assert.equal(error.code, code) ?? true)
const table = (sql, columns) => sql.unsafe(`DROP TABLE IF EXISTS matrix; CREATE TABLE matrix (${columns})`)

test('values_go_there_and_back', async (sql) => {
  const [row] = await sql`SELECT ${7}::int4 AS a, ${'käse'}::text AS b, ${null}::text AS c, ${[1, 2]}::int4[] AS d,
    ${sql.json({ e: [1, null] })}::jsonb AS e, ${Buffer.from([0, 255])}::bytea AS f, ${true}::bool AS g,
    ${new Date('2024-02-29T12:34:56.789Z')}::timestamptz AS h, ${'9007199254740993'}::int8 AS i`
  assert.deepEqual({ ...row }, {
    a: 7, b: 'käse', c: null, d: [1, 2], e: { e: [1, null] }, f: Buffer.from([0, 255]), g: true,
    h: new Date('2024-02-29T12:34:56.789Z'), i: '9007199254740993',
  })
})

test('types_of_ones_own', async (sql) => {
  await sql.unsafe("DROP TABLE IF EXISTS matrix; DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('sad', 'ok')")
  await sql`CREATE TABLE matrix (a mood, b mood[])`
  await sql`INSERT INTO matrix VALUES (${'ok'}, ${'{sad,ok}'})`
  const [row] = await sql`SELECT a, b::text[] AS b FROM matrix WHERE a = ${'ok'}`
  assert.deepEqual({ ...row }, { a: 'ok', b: ['sad', 'ok'] })
  await sql.unsafe('DROP TABLE matrix; DROP TYPE mood')
})

test('queries_that_are_not_waited_for', async (sql) => {
  const answers = await Promise.all(Array.from({ length: 1000 }, (_, n) => sql`SELECT ${n}::int4 AS n`))
  assert.deepEqual(answers.map(([row]) => row.n), Array.from({ length: 1000 }, (_, n) => n))
}, { max: 2 })

test('different_statements_on_one_connection_without_waiting', async (sql) => {
  const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => sql.unsafe(`SELECT ${n} AS n, $1::int4 AS m`, [n], { prepare: true })))
  assert.deepEqual(answers.map(([row]) => [row.n, row.m]), Array.from({ length: 300 }, (_, n) => [n, n]))
}, { max: 1 })

test('errors_among_queries_that_are_not_waited_for', async (sql) => {
  const asked = Array.from({ length: 200 }, (_, n) => n % 7 ? sql`SELECT ${n}::int4 AS n` : sql`SELECT 1 / ${0}::int4 + ${n}::int4 AS n`)
  const ends = await Promise.allSettled(asked)
  assert.deepEqual(ends.map((end) => end.value?.[0].n ?? end.reason.code), asked.map((_, n) => n % 7 ? n : '22012'))
}, { max: 1 })

test('without_prepared_statements', async (sql) => {
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => sql`SELECT ${n}::int4 AS n`))
  assert.deepEqual(answers.map(([row]) => row.n), Array.from({ length: 200 }, (_, n) => n))
}, { prepare: false })

test('simple_queries_with_several_statements', async (sql) => {
  const results = await sql`SELECT 1 AS a; SELECT 2 AS b`.simple()
  assert.deepEqual(results.map((rows) => ({ ...rows[0] })), [{ a: 1 }, { b: 2 }])
  await fails('42601', sql`SELEKT 1; SELECT 2`.simple())
  assert.equal((await sql`SELECT 1 AS one`)[0].one, 1)
})

test('a_prepared_statement_after_its_table_has_changed', async (sql) => {
  await table(sql, 'a int')
  await sql`INSERT INTO matrix VALUES (1)`
  const all = () => sql`SELECT * FROM matrix`
  assert.deepEqual({ ...(await all())[0] }, { a: 1 })
  await sql.unsafe("ALTER TABLE matrix ADD COLUMN b text DEFAULT 'x'")
  const again = await all().catch((error) => error.code)
  // The driver prepares it anew and asks again by itself.
  assert.deepEqual(Array.isArray(again) ? { ...again[0] } : again, { a: 1, b: 'x' })
}, { max: 1 })

test('transactions_and_savepoints', async (sql) => {
  await table(sql, 'a int PRIMARY KEY')
  await sql.begin(async (sql) => {
    await sql`INSERT INTO matrix VALUES (1)`
    await fails('23505', sql.savepoint((sql) => sql`INSERT INTO matrix VALUES (1)`))
    await sql`INSERT INTO matrix VALUES (2)`
  })
  await fails('22012', sql.begin(async (sql) => {
    await sql`INSERT INTO matrix VALUES (3)`
    await sql`SELECT 1 / 0`
  }))
  await assert.rejects(sql.begin(async (sql) => {
    await sql`INSERT INTO matrix VALUES (4)`
    throw new Error('mine')
  }), /mine/)
  assert.equal((await sql`SELECT sum(a)::int4 AS n FROM matrix`)[0].n, 3)
})

test('a_transaction_sent_at_once', async (sql) => {
  await table(sql, 'a int')
  await sql.begin((sql) => [1, 2, 3].map((n) => sql`INSERT INTO matrix VALUES (${n})`))
  await fails('22012', sql.begin((sql) => [sql`INSERT INTO matrix VALUES (4)`, sql`SELECT 1 / 0`, sql`INSERT INTO matrix VALUES (5)`]))
  assert.equal((await sql`SELECT sum(a)::int4 AS n FROM matrix`)[0].n, 6)
})

test('a_read_only_transaction', async (sql) => {
  await table(sql, 'a int')
  await fails('25006', sql.begin('read only', (sql) => sql`INSERT INTO matrix VALUES (1)`))
  const [row] = await sql.begin('isolation level repeatable read read only', (sql) => sql`SHOW transaction_isolation`)
  assert.equal(row.transaction_isolation, 'repeatable read')
})

test('a_reserved_connection_keeps_its_session', async (sql) => {
  const reserved = await sql.reserve()
  await reserved`CREATE TEMP TABLE mine (a int)`
  await reserved`SET my.tenant = 'four'`
  await reserved`INSERT INTO mine VALUES (1)`
  assert.equal((await reserved`SELECT count(*)::int4 AS n FROM mine`)[0].n, 1)
  assert.equal((await reserved`SHOW my.tenant`)[0]['my.tenant'], 'four')
  await reserved`DROP TABLE mine`
  reserved.release()
})

test('a_cursor', async (sql) => {
  const seen = []
  for await (const rows of sql`SELECT n FROM generate_series(1, 1000) n`.cursor(64)) seen.push(...rows.map(({ n }) => n))
  assert.deepEqual(seen, Array.from({ length: 1000 }, (_, n) => n + 1))
  let first
  for await (const [row] of sql`SELECT n FROM generate_series(1, 1000) n`.cursor()) {
    first = row.n
    break
  }
  assert.equal(first, 1)
  assert.equal((await sql`SELECT 2 AS two`)[0].two, 2)
}, { max: 1 })

test('row_by_row', async (sql) => {
  let sum = 0
  await sql`SELECT n FROM generate_series(1, 20000) n`.forEach(({ n }) => { sum += n })
  assert.equal(sum, 200_010_000)
})

test('notifications', async (sql) => {
  const heard = []
  const { unlisten } = await sql.listen('news', (payload) => heard.push(payload))
  await sql.notify('news', 'one')
  await sql.begin((sql) => sql.notify('news', 'two'))
  while (heard.length < 2) await sleep(10)
  assert.deepEqual(heard, ['one', 'two'])
  await unlisten()
})

test('copy_in_and_out', async (sql) => {
  await table(sql, 'a int, b text')
  const lines = function* () { for (let n = 0; n < 50_000; n++) yield `${n}\ttext ${n}\n` }
  await pipeline(Readable.from(lines()), await sql`COPY matrix FROM STDIN`.writable())
  assert.equal((await sql`SELECT sum(a) AS n FROM matrix`)[0].n, '1249975000')
  let bytes = 0
  for await (const chunk of await sql`COPY (SELECT * FROM matrix ORDER BY a) TO STDOUT`.readable()) bytes += chunk.length
  assert.equal(bytes, [...lines()].join('').length)
}, { max: 1 })

test('a_query_is_cancelled', async (sql) => {
  const query = sql`SELECT pg_sleep(50)`
  const end = query.then(() => 'answered', (error) => error.code)
  await sleep(300)
  query.cancel()
  assert.equal(await end, '57014')
  assert.equal((await sql`SELECT 1 AS one`)[0].one, 1)
})

test('settings_at_the_log_in', async (sql) => {
  assert.equal((await sql`SHOW work_mem`)[0].work_mem, '7MB')
  assert.equal((await sql`SHOW application_name`)[0].application_name, 'matrix')
  await fails('57014', sql`SELECT pg_sleep(50)`)
}, { connection: { application_name: 'matrix', work_mem: '7MB', statement_timeout: 200 } })

test('values_in_bulk', async (sql) => {
  await table(sql, 'a int, b text')
  const rows = Array.from({ length: 5000 }, (_, a) => ({ a, b: `text ${a}` }))
  await sql`INSERT INTO matrix ${sql(rows)}`
  const updated = await sql`UPDATE matrix SET b = v.b FROM (VALUES ${sql([[1, 'one'], [2, 'two']])}) AS v (a, b) WHERE matrix.a = v.a::int RETURNING matrix.b`
  assert.deepEqual(updated.map(({ b }) => b).sort(), ['one', 'two'])
  assert.equal((await sql`SELECT count(*)::int4 AS n FROM matrix WHERE a IN ${sql([1, 2, 3])}`)[0].n, 3)
})

test('a_description_without_running', async (sql) => {
  await table(sql, 'a int, b text')
  const { types, columns } = await sql`INSERT INTO matrix VALUES (${1}, ${'x'}) RETURNING a, b`.describe()
  assert.deepEqual([types, columns.map(({ name, type }) => [name, type])], [[23, 25], [['a', 23], ['b', 25]]])
  assert.equal((await sql`SELECT count(*)::int4 AS n FROM matrix`)[0].n, 0)
})

test('more_clients_than_server_connections', async (sql) => {
  await table(sql, 'a int')
  await Promise.all(Array.from({ length: 300 }, (_, n) => sql.begin(async (sql) => {
    await sql`INSERT INTO matrix VALUES (${n})`
    await sql`SELECT pg_sleep(0.01)`
    if (n % 3 === 0) throw null
  }).catch((error) => { if (error) throw error })))
  assert.equal((await sql`SELECT count(*)::int4 AS n FROM matrix`)[0].n, 200)
}, { max: 60 })

test('connections_that_come_and_go', async (sql) => {
  for (let round = 0; round < 5; round++) {
    await Promise.all(Array.from({ length: 20 }, () => sql`SELECT 1`))
    await sleep(60)
  }
}, { max: 20, max_lifetime: 0.05, idle_timeout: 0.05 })

test('large_values', async (sql) => {
  const large = 'x'.repeat(5_000_000)
  assert.equal((await sql`SELECT ${large}::text AS large`)[0].large, large)
})
