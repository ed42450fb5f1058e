import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { plainTwoLevels } from '../support/application.ts'
import { type CliResult, kvx, kvxJson } from '../support/cli.ts'
import { makeWorkspace, treeFiles } from '../support/workspace.ts'

/** A folder in which something is wrong. */
export class Place {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  file(name: string): string {
    return join(this.path, name)
  }

  put(name: string, content: string | Uint8Array, mode = 0o600): void {
    mkdirSync(dirname(this.file(name)), { recursive: true })
    writeFileSync(this.file(name), content, { mode })
  }

  bytes(name: string): Buffer {
    return readFileSync(this.file(name))
  }

  /** Changes a text file; the old text must be there. */
  edit(name: string, from: string | RegExp, to: string): void {
    const text = readFileSync(this.file(name), 'utf8')
    const changed = text.replace(from, () => to)
    if (changed === text) throw new Error(`${name} has no ${String(from)}`)
    writeFileSync(this.file(name), changed)
  }

  /** Changes the bytes of a file. */
  spoil(name: string, change: (bytes: Buffer) => Uint8Array): void {
    writeFileSync(this.file(name), change(this.bytes(name)))
  }

  sql(...statements: readonly string[]): void {
    const database = new DatabaseSync(this.file('app.db'))
    for (const statement of statements) database.exec(statement)
    database.close()
  }

  private get options(): { cwd: string; env: Record<string, string> } {
    return { cwd: this.path, env: { HOME: this.path, GNUPGHOME: join(this.path, 'no-gnupg'), LC_ALL: 'C' } }
  }

  run(args: readonly string[], input = ''): CliResult {
    return kvx(args, { ...this.options, input })
  }

  json(args: readonly string[], input = ''): ReturnType<typeof kvxJson> {
    return kvxJson(args, { ...this.options, input })
  }

  ok(...args: readonly string[]): void {
    const { exit, stdout, stderr } = this.run(args)
    if (exit !== 0) throw new Error(`kvx ${args.join(' ')} ended with ${exit}: ${stdout}${stderr}`)
  }

  copy(): Place {
    const path = mkdtempSync('/var/tmp/kvx-bad-')
    execFileSync('cp', ['-a', `${this.path}/.`, path])
    return new Place(path)
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** An application with a SQLite table, JSON documents and two vaults, its keys in a home, and nothing wrong. */
export function goodPlace(): Place {
  const workspace = makeWorkspace({ shape: plainTwoLevels, rows: 4, place: 'file' })
  const place = new Place(workspace.path)
  const config = workspace
    .configuration()
    .replace('keys:\n', `keys:\n${keyLines}`)
    .replace('stores:\n', 'stores:\n  docs: { directory: data, match: "*.json", format: json }\n')
    .replace('envelopes:\n', `envelopes:\n${documentLines}`)
  rmSync(place.file('kvx.yaml'))
  place.ok('init', '--no-input')
  place.put(
    'kvx.yaml',
    `${config}vaults:\n  tk: { directory: vaults, key: tk }\n  two: { directory: vaults, key: tk }\n`,
  )
  place.ok('key', 'import', 'master')
  mkdirSync(place.file('vaults'))
  mkdirSync(place.file('data'))
  place.ok('keygen', 'tk')
  place.put('first.json', JSON.stringify({ a: 'x'.repeat(3_000_000), b: 1 }))
  for (const name of ['tk', 'two']) place.ok('vault', 'import', name, '--from', 'first.json')
  place.put('data/one.json', JSON.stringify({ id: 1, value: randomBytes(60).toString('base64') }))
  place.put('keys/spare.key', randomBytes(32))
  return place
}

const keyLines = [
  '  other: { purpose: data, publish: [{ file: keys/other.key, encoding: base64 }] }',
  '  tk: { purpose: vault, publish: [{ file: keys/tk.key, previous: keys/tk.key.previous }] }',
  '',
].join('\n')

const documentLines = [
  '  docs.files:',
  '    store: docs',
  '    key: master',
  '    plaintext: true',
  '    value: { column: value, aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)" }',
  '',
].join('\n')

/** One bad input: what is wrong, what is run, and how kvx refuses it. */
export type BadInput = {
  readonly title: string
  readonly given?: (place: Place) => void
  readonly args: readonly string[]
  readonly input?: string
  /** `EXIT CODE text`, where the text is a part of the message or its hint. */
  readonly says: string
}

/** Refused as it says, with a way out, without a byte changed and without a secret told. */
export function expectRefused(good: Place, { given, args, input, says }: BadInput): void {
  const place = good.copy()
  try {
    given?.(place)
    const before = treeFiles(place.path)
    const document = place.json(args, input)
    const human = place.run(args, input)
    expect(treeFiles(place.path)).toEqual(before)
    const { code = 'none', message = '', hint } = document.error ?? {}
    const [, exit = '', wanted = '', part = ''] = /^(\d+) (\w+) (.*)$/s.exec(says) ?? []
    expect(`${document.exit} ${code} ${message}\n${hint ?? ''}`).toContain(`${exit} ${wanted} `)
    expect(`${message}\n${hint ?? ''}`).toContain(part)
    expect(part.length, 'the part of the message tells something').toBeGreaterThan(5)
    expect(human.exit).toBe(document.exit)
    expect(hint ?? '', `a way out of: ${message}`).not.toBe('')
    expectClean(place, `${JSON.stringify(document)}${human.stdout}${human.stderr}`)
  } finally {
    place.close()
  }
}

/** No stack, no escape sequence, and no key of the place in any spelling. */
function expectClean(place: Place, said: string): void {
  expect(said).not.toMatch(/\n\s+at |\b(?:TypeError|RangeError|SyntaxError|ERR_[A-Z_]+|ZodError)\b/)
  expect(said.includes('\u001b'), 'an escape sequence').toBe(false)
  for (const folder of ['.kvx/keys', 'keys'].filter((name) => existsSync(place.file(name)))) {
    for (const name of readdirSync(place.file(folder), { withFileTypes: true })) {
      const key = name.isFile() ? place.bytes(`${folder}/${name.name}`) : Buffer.alloc(0)
      if (key.length < 16) continue
      for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const)
        expect(said.includes(key.toString(encoding)), `${name.name} in ${encoding}`).toBe(false)
    }
  }
}
