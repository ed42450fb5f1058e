import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { type CliResult, kvx, root } from '../support/cli.ts'
import { needsTool } from '../support/needs.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'
import { expectSilence } from './tree.ts'

// The schema of the standard, without its descriptions: https://docs.oasis-open.org/sarif/sarif/v2.1.0/
const schemaText = readFileSync(join(root, 'test/vectors/sarif-2.1.0-rtm.5.json'), 'utf8')
const schema = z.fromJSONSchema(
  // The validator knows whole addresses only; the ways of files are compared below.
  JSON.parse(
    schemaText.replaceAll('"format":"uri-reference"', '"minLength":1'),
  ) as z.core.JSONSchema.JSONSchema,
)

type Log = {
  runs: {
    tool: { driver: { rules: { id: string }[] } }
    results: {
      ruleId: string
      ruleIndex: number
      level: string
      locations: {
        physicalLocation?: { artifactLocation: { uri: string }; region?: { startLine: number } }
      }[]
      partialFingerprints: Record<string, string>
    }[]
  }[]
}

const key = randomBytes(32)
const text = key.toString('base64')

/** Files with a name, a rule and a message that every format has to write in its own way. */
function site(): string {
  const directory = trustedDirectory()
  mkdirSync(join(directory, 'a b'))
  writeFileSync(join(directory, 'a b/50%,x:"<&>.env'), `PORT=1\nKEK=${text}\n`)
  writeFileSync(join(directory, 'c.key'), `${text}\r\n`, { mode: 0o600 })
  return directory
}

function check(directory: string, format: string, ...args: string[]): CliResult {
  const result = kvx(['check', '--recursive', '.', '--format', format, ...args], { cwd: directory })
  expectSilence(result, key)
  return result
}

test('--format sarif prints what the schema of SARIF 2.1.0 takes, with file, line and rule', () => {
  const { stdout, exit } = check(site(), 'sarif')
  expect(exit).toBe(3)
  const log = JSON.parse(stdout) as Log
  expect(schema.safeParse(log).error?.issues).toBeUndefined()
  const [run] = log.runs
  const results = run?.results ?? []
  expect(results.map(({ ruleId, level }) => `${level} ${ruleId}`).sort()).toEqual([
    'error SECRET_IN_ENV',
    'warning KEY_CRLF',
    'warning KEY_REUSED',
  ])
  for (const one of results) expect(run?.tool.driver.rules[one.ruleIndex]?.id).toBe(one.ruleId)
  const secret = results.find(({ ruleId }) => ruleId === 'SECRET_IN_ENV')?.locations[0]?.physicalLocation
  expect(secret).toEqual({
    artifactLocation: { uri: 'a%20b/50%25%2Cx%3A%22%3C%26%3E.env' },
    region: { startLine: 2 },
  })
})

test('--format sarif names what is no file, and finds nothing in a clean place', () => {
  const env = { KEK: Buffer.alloc(32).toString('base64') }
  const { stdout } = kvx(['check', '--env', 'KEK', '--format', 'sarif'], { env })
  expect(schema.safeParse(JSON.parse(stdout)).success).toBe(true)
  expect(stdout).toContain('"fullyQualifiedName": "env:KEK"')
  const clean = JSON.parse(check(trustedDirectory(), 'sarif').stdout) as Log
  expect(schema.safeParse(clean).success).toBe(true)
  expect(clean.runs[0]?.results).toEqual([])
})

test('a fingerprint of SARIF stays when lines move, and changes with the key', () => {
  const directory = site()
  const marks = (): (string | undefined)[] =>
    (JSON.parse(check(directory, 'sarif', '--skip', 'KEY_REUSED').stdout) as Log).runs[0]?.results.map(
      ({ partialFingerprints }) => partialFingerprints['kvx/v1'],
    ) ?? []
  const before = marks()
  writeFileSync(join(directory, 'a b/50%,x:"<&>.env'), `\n\n\nKEK=${text}\n`)
  expect(marks()).toEqual(before)
  writeFileSync(join(directory, 'a b/50%,x:"<&>.env'), `KEK=${randomBytes(32).toString('base64')}\n`)
  expect(marks().filter((mark) => !before.includes(mark))).toHaveLength(1)
})

test('--format junit is XML with a case for each file and a failure for each error', (context) => {
  needsTool(context, 'python3')
  const { stdout, exit } = check(site(), 'junit')
  expect(exit).toBe(3)
  const script = [
    'import sys, xml.etree.ElementTree as E',
    'top = E.fromstring(sys.stdin.buffer.read())',
    'for case in top.iter("testcase"):',
    '    failure = case.find("failure")',
    '    print(case.get("name"), "-" if failure is None else failure.get("type"), sep="|")',
    'print(top.get("tests"), top.get("failures"), sep="|")',
  ].join('\n')
  const read = spawnSync('python3', ['-c', script], { input: stdout, encoding: 'utf8' })
  expect(read.stderr).toBe('')
  expect(read.stdout.trim().split('\n').sort()).toEqual(
    ['c.key|-', 'a b/50%,x:"<&>.env:2|SECRET_IN_ENV', 'a b/50%,x:"<&>.env:2|-', '3|1'].sort(),
  )
})

test('--format github is a line for each finding, with signs that would end it escaped', () => {
  const { stdout } = check(site(), 'github')
  const lines = stdout.trim().split('\n')
  expect(lines).toHaveLength(3)
  const secret = lines.find((line) => line.includes('SECRET_IN_ENV'))
  expect(secret).toMatch(
    /^::error file=a b\/50%25%2Cx%3A"<&>\.env,line=2,title=kvx SECRET_IN_ENV::KEK is a key/,
  )
  expect(lines.find((line) => line.includes('KEY_CRLF'))).toMatch(/^::warning file=c\.key,title=/)
})
