import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { vectors, vectorText } from '../core/share/fixture.ts'
import { kvxJson, root } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { needsTool } from '../support/needs.ts'

// What templates/recovery/README.txt tells a person to type is typed here, in a folder with nothing else.
const sheet = readFileSync(join(root, 'templates/recovery/README.txt'), 'utf8')
const gpg = new GpgHome()
const folder = mkdtempSync('/var/tmp/kvx-sheet-')
const site = join(folder, 'site')
let material = Buffer.alloc(0)

beforeAll(() => {
  mkdirSync(site, { mode: 0o700 })
  const recipient = gpg.makeKey('A. Boole <a@example.org>')
  const text = `kvx: 1\nkeys:\n  master: { purpose: kek, publish: [{ file: app.key }], backup: { recipients: [${recipient}] } }\n`
  writeFileSync(join(site, 'kvx.yaml'), text, { mode: 0o600 })
  const env = { HOME: site, GNUPGHOME: gpg.path, LC_ALL: 'C' }
  for (const args of [['init'], ['keygen', 'master']]) kvxJson(args, { cwd: site, env })
  const made = kvxJson<{ file: string }>(['backup', 'create', 'master'], { cwd: site, env })
  copyFileSync(made.data.file, join(folder, basename(made.data.file)))
  copyFileSync(join(root, 'templates/recovery/recover.py'), join(folder, 'recover.py'))
  material = readFileSync(join(site, 'app.key'))
})

afterAll(() => {
  gpg.remove()
  rmSync(folder, { recursive: true, force: true })
})

/** The line of the sheet that begins so, with the name of the file in place of its example. */
function line(begins: string, file = ''): string {
  const found = sheet
    .split('\n')
    .find((text) => text.trim().startsWith(begins) && (file === '' || text.includes('|')))
  if (found === undefined) throw new Error(`the sheet does not say ${begins}`)
  return found.trim().replace('master.v1.B7K2M9.asc', file)
}

function type(command: string, input = ''): string {
  const env = { PATH: process.env['PATH'] ?? '', ...gpg.env }
  const done = spawnSync('bash', ['-ec', command], { cwd: folder, env, input, encoding: 'utf8' })
  if (done.status !== 0) throw new Error(`${command}: ${done.stderr}`)
  return done.stdout
}

it('gets a key out of an encrypted backup with nothing but gpg', (context) => {
  needsTool(context, 'gpg')
  const file =
    spawnSync('ls', { cwd: folder, encoding: 'utf8' })
      .stdout.split('\n')
      .find((name) => name.endsWith('.asc')) ?? ''
  expect(file).toMatch(/^master\.v1\.[0-9A-Z]+\.asc$/)
  type(line('gpg --decrypt', file))
  expect(readFileSync(join(folder, 'key.raw'))).toEqual(material)
})

it('C7 rebuilds a key from shares with nothing but Python, as the sheet says', (context) => {
  needsTool(context, 'python3')
  const card = (vectorText(4).match(/.{1,24}/g) ?? []).map(
    (text, at) => `${at + 1}  ${text.match(/.{4}/g)?.join(' ')}`,
  )
  const said = type(
    line('python3 recover.py'),
    `${vectorText(2).toLowerCase()}\n${card.join('\n')}\n${vectorText(5)}\n`,
  )
  const key = /^key +([0-9a-f]{64})$/m.exec(said)?.[1] ?? ''
  expect(key).toBe(vectors.kek)
  expect(said).toContain(vectors.fingerprint)
  type(line("python3 -c 'import sys"), `${key}\n`)
  expect(readFileSync(join(folder, 'key.raw')).toString('hex')).toBe(vectors.kek)
  expect(type(line("python3 -c 'import base64"), `${key}\n`).trim()).toBe(
    Buffer.from(vectors.kek, 'hex').toString('base64'),
  )
})

it('has the shares of its example right', () => {
  const format = readFileSync(join(root, 'templates/recovery/FORMAT.txt'), 'utf8')
  const texts = format.match(/KVX1[0-9A-Z]{84}/g) ?? []
  expect(texts).toEqual([1, 3, 5].map(vectorText))
  expect(format).toContain(vectors.fingerprint)
  expect(sheet.replaceAll(/^ +\d {2}|\s/gm, '')).toContain(vectorText(1))
})
