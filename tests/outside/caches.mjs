// What an HTTP cache test suite found, a line per test: kind, id, verdict. Used by caches.sh.
//   node caches.mjs FOLDER-OF-THE-SUITE RESULTS.json
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { resolve } from 'node:path'

const [folder, results] = process.argv.slice(2)
const at = (file) => pathToFileURL(resolve(folder, file)).href
const { default: suites } = await import(at('tests/index.mjs'))
const { default: surrogate } = await import(at('tests/surrogate-control.mjs'))
const display = await import(at('lib/display.mjs'))

const all = [...suites, surrogate]
const found = JSON.parse(readFileSync(results))
const words = { '✅': 'ok', '⛔️': 'FAILED', '⚠️': 'not-done', '↻': 'asked-again', '🔹': 'no-setup', '⚪️': 'depends', '-': 'not-run', Y: 'yes', N: 'no' }
for (const test of all.flatMap((suite) => suite.tests)) {
  if (test.browser_only) continue
  const symbol = display.determineTestResult(all, test.id, found, false)[2]
  console.log(test.kind ?? 'required', test.id, words[symbol] ?? symbol)
}
