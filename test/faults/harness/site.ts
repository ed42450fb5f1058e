import assert from 'node:assert/strict'
import { hkdfSync } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type CliResult, kvx, kvxJson, type KvxDocument } from '../../support/cli.ts'
import type { RingFile } from '../../support/workspace.ts'
import { Copier } from './copier.ts'
import { type Place, runShimmed, type ShimOptions, type Shimmed } from './shim.ts'
import { canStayWarm, WarmKvx } from './warm.ts'

export type Slot = 'current' | 'previous'
export type Run = { readonly id: string; readonly status: string; readonly kind: string }

/** An application with its keys, its records and a home, that is broken and put back again and again in one place. */
export abstract class Site implements Place {
  abstract readonly path: string
  abstract readonly env: Readonly<Record<string, string>>
  /** The key's name in kvx.yaml. */
  abstract readonly key: string
  /** The version whose material is lost, where the command is the one that brings it back. */
  lostVersion: number | undefined
  /** The version whose material goes: it may be whole, overwritten, or gone. */
  endingVersion: number | undefined
  /** Records that are gone, where the command is the one that brings them back. */
  missing: readonly string[] = []
  private warm: WarmKvx | undefined
  private readonly copier = new Copier()
  abstract publishedKey(slot: Slot): Buffer | undefined
  /** Names of records that none of these keys opens to what was sealed. */
  abstract lost(keys: readonly Buffer[]): Promise<readonly string[]>

  get home(): string {
    return join(this.path, '.kvx')
  }

  file(...names: readonly string[]): string {
    return join(this.path, ...names)
  }

  run(...args: readonly string[]): CliResult {
    return kvx(args, { cwd: this.path, env: this.env })
  }

  json<T = Record<string, unknown>>(...args: readonly string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: this.env })
  }

  ok<T = Record<string, unknown>>(...args: readonly string[]): KvxDocument<T> {
    const document = this.json<T>(...args)
    if (document.exit === 0) return document
    throw new Error(`kvx ${args.join(' ')} ended with ${document.exit}: ${JSON.stringify(document.error)}`)
  }

  /** Runs kvx with the shim: in the process of the commands before where that makes no difference, else in one of its own. */
  async give(args: readonly string[], options: ShimOptions = {}): Promise<Shimmed> {
    if (!canStayWarm(options)) return await runShimmed(this, args, options)
    this.warm ??= new WarmKvx(this)
    return await this.warm.run(args, options)
  }

  /** A question that changes nothing, while the other lanes go on. */
  async ask<T>(...args: readonly string[]): Promise<KvxDocument<T>> {
    const { exit, stdout, stderr } = await this.give([...args, '--json'])
    assert.equal(exit, 0, `kvx ${args.join(' ')}: ${stdout}${stderr}`)
    return JSON.parse(stdout) as KvxDocument<T>
  }

  /** What `reset` brings back. */
  async keep(): Promise<void> {
    await this.copier.replace(this.kept, this.path)
  }

  /** Everything as it was kept, at the same place: runs remember where their store lies. */
  async reset(): Promise<void> {
    await this.copier.replace(this.path, this.kept)
  }

  async close(): Promise<void> {
    await this.warm?.close()
    this.warm = undefined
    this.copier.close()
    rmSync(this.path, { recursive: true, force: true })
    rmSync(this.kept, { recursive: true, force: true })
  }

  private get kept(): string {
    return `${this.path}.kept`
  }

  /** What keyring.json holds of the key; undefined before it has any. */
  ring(): RingFile['keys'][string] | undefined {
    const path = join(this.home, 'keyring.json')
    if (!existsSync(path)) return undefined
    return (JSON.parse(readFileSync(path, 'utf8')) as RingFile).keys[this.key]
  }

  material(version: number): Buffer {
    return readFileSync(join(this.home, 'keys', `${this.key}.v${version}.key`))
  }

  private hasMaterial(version: number): boolean {
    return existsSync(join(this.home, 'keys', `${this.key}.v${version}.key`))
  }

  /** Every key that the home or a published place holds. */
  keys(): readonly Buffer[] {
    const folder = join(this.home, 'keys')
    const names = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.key')) : []
    const published = [this.publishedKey('current'), this.publishedKey('previous')]
    return [
      ...names.map((name) => readFileSync(join(folder, name))),
      ...published.filter((key) => key !== undefined),
    ].filter((key) => key.length > 0)
  }

  /** The runs of the journal, oldest first, read without kvx's code. */
  runs(): readonly Run[] {
    if (!existsSync(join(this.home, 'kvx.db'))) return []
    const database = new DatabaseSync(join(this.home, 'kvx.db'), { timeout: 5000 })
    try {
      const tables = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'run'").all()
      if (tables.length === 0) return []
      return database.prepare('SELECT id, status, kind FROM run ORDER BY created, rowid').all() as Run[]
    } finally {
      database.close()
    }
  }

  openRun(): Run | undefined {
    return this.runs().find(({ status }) => status === 'open' || status === 'waiting')
  }

  /** What holds at every instant: the keyring is whole, and every record opens with a key that is there. */
  async expectWhole(): Promise<void> {
    const ring = this.ring()
    for (const [number, record] of Object.entries(ring?.versions ?? {})) {
      if (record.fingerprint === null || record.state === 'destroyed') continue
      if (Number(number) === this.endingVersion) continue
      if (Number(number) === this.lostVersion && !this.hasMaterial(Number(number))) continue
      assert.equal(fingerprint(this.material(Number(number))), record.fingerprint, `material of ${number}`)
    }
    const seals = ring?.seals ?? null
    if (seals !== null)
      assert.equal(ring?.versions[String(seals)]?.state, 'active', 'the state of what seals')
    assert.deepEqual(await this.lost(this.keys()), [], 'records that no key opens')
  }

  /** Nothing is open, everything lies under this version, and it is published. */
  async expectUnder(version: number): Promise<void> {
    await this.expectSeals(version)
    assert.deepEqual(await this.lost([this.material(version)]), [], `records that ${version} does not open`)
  }

  /** This version seals from now on; records may still need an older one, which readers have too. */
  async expectSeals(version: number): Promise<void> {
    assert.equal(this.openRun(), undefined, 'no run is open')
    assert.equal(this.ring()?.seals, version, 'the version that seals')
    assert.deepEqual(this.publishedKey('current'), this.material(version), 'the published key')
    await this.expectWhole()
  }
}

/** docs/design.md, computed without kvx's code. */
export function fingerprint(key: Buffer): string {
  return Buffer.from(hkdfSync('sha256', key, '', 'kvx/key-fingerprint/v1', 32)).toString('hex')
}
