import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { split } from 'shamir-secret-sharing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fingerprintOf } from '../../src/core/fingerprint.ts'
import { Secret } from '../../src/core/secret.ts'
import { atTerminal } from '../backup/shares/terminal.ts'
import { kvx, type KvxDocument } from '../support/cli.ts'

const folder = mkdtempSync('/var/tmp/kvx-foreign-')
const env = { HOME: folder, LC_ALL: 'C', TERM: 'xterm' }
const out = join(folder, 'out.key')
const material = randomBytes(32)
const keyFile = join(folder, '.kvx/keys/master.v1.key')

beforeAll(() => {
  const text = 'kvx: 1\nkeys:\n  master: { purpose: kek, publish: [{ file: published.key }] }\n'
  writeFileSync(join(folder, 'kvx.yaml'), text, { mode: 0o600 })
  writeFileSync(join(folder, 'published.key'), material, { mode: 0o640 })
  for (const args of [['init'], ['key', 'import', 'master']])
    expect(kvx(args, { cwd: folder, env }).exit).toBe(0)
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

type Restored = { proven: boolean; fingerprint: string; used: readonly number[]; changed: boolean }

function restore(kind: string, shares: readonly string[], ...more: string[]): KvxDocument<Restored> {
  const args = ['restore', '--from', kind, '--share-fd', '0', ...more, '--json']
  return JSON.parse(
    kvx(args, { cwd: folder, env, input: `${shares.join('\n')}\n` }).stdout,
  ) as KvxDocument<Restored>
}

/** Shares as Debian's ssss-split prints them. */
function ssss(secret: string, threshold: number, of: number, ...options: string[]): string[] {
  const args = ['-t', String(threshold), '-n', String(of), '-q', ...options]
  return execFileSync('ssss-split', args, { input: `${secret}\n`, stdio: ['pipe', 'pipe', 'ignore'] })
    .toString()
    .trim()
    .split('\n')
}

/** Takes the key out of a restore, or undefined where it wrote none. */
function written(): Buffer | undefined {
  if (!existsSync(out)) return undefined
  const bytes = readFileSync(out)
  rmSync(out)
  return bytes
}

function fingerprint(key: Buffer): string {
  return fingerprintOf(Secret.copy(key))
}

describe('shares of ssss', () => {
  it('C27 come back for ten sets of Debian’s ssss-split, as base64 and as hex, and are labelled unproven', () => {
    for (let round = 0; round < 10; round++) {
      const key = randomBytes(32)
      const isHex = round % 3 === 2
      const options = [...(isHex ? ['-x'] : []), ...(round % 2 === 1 ? ['-w', `set${round}`] : [])]
      const [k, n] = [
        [2, 3],
        [3, 5],
        [4, 11],
      ][round % 3] ?? [2, 2]
      const shares = ssss(key.toString(isHex ? 'hex' : 'base64'), k ?? 2, n ?? 2, ...options)
        .toReversed()
        .slice(0, k)
      const given = ['--expect-fingerprint', fingerprint(key)]
      const { exit, data, warnings } = restore('ssss', shares, '--out', out, ...(round > 4 ? given : []))
      expect(exit).toBe(0)
      expect(data).toMatchObject({ proven: round > 4, fingerprint: fingerprint(key), changed: true })
      expect(warnings.map(({ code }) => code)).toEqual(['FOREIGN_SHARES'])
      expect(written()).toEqual(key)
    }
  })

  it('C27 are refused where they rebuild something else, although ssss-combine ends with 0', () => {
    const key = randomBytes(32).toString('base64')
    const shares = ssss(key, 3, 5)
    const [one = '', two = '', three = ''] = shares
    const wrong = `${three.slice(0, -1)}${three.endsWith('0') ? '1' : '0'}`
    expect(restore('ssss', [one, two, wrong], '--out', out)).toMatchObject({
      exit: 5,
      error: { code: 'KEY_MALFORMED' },
    })
    expect(restore('ssss', [one, two], '--out', out)).toMatchObject({
      exit: 5,
      error: { code: 'KEY_MALFORMED' },
    })
    const other = ssss(randomBytes(32).toString('base64'), 3, 5)
    expect(restore('ssss', [one, two, other[2] ?? ''], '--out', out)).toMatchObject({ exit: 5 })
    const expected = ['--expect-fingerprint', '0'.repeat(64)]
    const differs = restore('ssss', [one, two, three], '--out', out, ...expected)
    expect(differs).toMatchObject({ exit: 5, error: { code: 'FINGERPRINT_DIFFERS' } })
    expect(written()).toBeUndefined()
  })

  it('name the share that was given twice, is of another set or is none, and say who is missing', () => {
    const hex = randomBytes(32).toString('hex')
    const [one = '', two = ''] = ssss(hex, 2, 3, '-x', '-w', 'blue')
    const [, red = ''] = ssss(hex, 2, 3, '-x', '-w', 'red')
    const twice = restore('ssss', [one, one], '--out', out)
    expect(twice).toMatchObject({ exit: 5, data: { reason: 'twice', index: 1 } })
    expect(restore('ssss', [one, red], '--out', out)).toMatchObject({
      exit: 5,
      data: { reason: 'set', index: 2 },
    })
    expect(restore('ssss', [one, 'blue-2-xyz'], '--out', out).error?.message).toContain('text 2 is no share')
    expect(restore('ssss', [one], '--threshold', '2', '--out', out)).toMatchObject({
      exit: 7,
      error: { code: 'SHARE_MISSING' },
    })
    expect(restore('ssss', [one, two, red], '--threshold', '2', '--out', out)).toMatchObject({ exit: 2 })
    for (const said of [twice]) expect(JSON.stringify(said)).not.toContain(one.slice(-16))
    expect(written()).toBeUndefined()
  })

  it('C25 put a key back that the keyring knows, proven by it, and never over another one', () => {
    const shares = ssss(material.toString('base64'), 2, 3).slice(0, 2)
    rmSync(keyFile)
    const back = restore('ssss', shares, '--confirm', 'master@1')
    expect(back).toMatchObject({ exit: 0, data: { name: 'master', version: 1, proven: true, changed: true } })
    expect(readFileSync(keyFile)).toEqual(material)
    const other = randomBytes(32)
    writeFileSync(keyFile, other)
    expect(restore('ssss', shares, '--confirm', 'master@1')).toMatchObject({
      exit: 2,
      error: { code: 'KEY_EXISTS' },
    })
    expect(readFileSync(keyFile)).toEqual(other)
    writeFileSync(keyFile, material)
    const unknown = ssss(randomBytes(32).toString('base64'), 2, 3).slice(0, 2)
    expect(restore('ssss', unknown, '--confirm', 'master@1')).toMatchObject({
      exit: 2,
      error: { code: 'VERSION_UNKNOWN' },
    })
  })

  it('are typed at a terminal, and nothing of them is shown', async () => {
    const [one = '', two = ''] = ssss(material.toString('hex'), 2, 3, '-x')
    const { screen, exit } = await atTerminal(
      ['restore', '--from', 'ssss', '--threshold', '2', '--out', out],
      [
        [/Share 1 of 2/, `${one}\r`],
        [/Share 2 of 2/, `${two}\r`],
        [/Enter alone if nobody has it/, '\r'],
      ],
      { cwd: folder, env },
    )
    expect(exit, screen).toBe(0)
    expect(screen).toContain('UNPROVEN')
    expect(screen).not.toContain(one.slice(2, 10))
    expect(written()).toEqual(material)
  })
})

describe('shares of Vault', () => {
  it('C28 are read as hex and as base64, and are labelled unproven without a fingerprint', async () => {
    for (const encoding of ['hex', 'base64'] as const) {
      const points = await split(new Uint8Array(material), 5, 3)
      const shares = points.slice(1, 4).map((point) => Buffer.from(point).toString(encoding))
      expect(restore('vault', shares, '--out', out)).toMatchObject({
        exit: 0,
        data: { proven: false, source: 'vault' },
      })
      expect(written()).toEqual(material)
      const given = ['--expect-fingerprint', fingerprint(material)]
      expect(restore('vault', shares, '--out', out, ...given)).toMatchObject({
        exit: 0,
        data: { proven: true },
      })
      expect(written()).toEqual(material)
      expect(restore('vault', shares.slice(1), '--out', out, ...given)).toMatchObject({ exit: 5 })
    }
    expect(written()).toBeUndefined()
  })

  it('C28 are refused with an x of 0, with one x twice, and in another length', async () => {
    const [one, two] = (await split(new Uint8Array(material), 3, 2)).map((point) => Buffer.from(point))
    if (one === undefined || two === undefined) throw new Error('there are three')
    const forged = Buffer.concat([randomBytes(32), Buffer.from([0])])
    const text = (bytes: Buffer): string => bytes.toString('base64')
    expect(restore('vault', [text(one), text(forged)], '--out', out)).toMatchObject({
      exit: 5,
      data: { reason: 'x', index: 2 },
    })
    expect(restore('vault', [text(one), text(one)], '--out', out)).toMatchObject({
      exit: 5,
      data: { reason: 'twice', index: 2 },
    })
    expect(restore('vault', [text(one), text(two.subarray(1))], '--out', out)).toMatchObject({
      exit: 5,
      error: { code: 'DAMAGED' },
    })
    expect(written()).toBeUndefined()
  })
})
