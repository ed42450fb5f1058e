import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { shareReceipt } from '../../src/backup/shares/receipts.ts'
import { splitShareTexts } from '../../src/core/share/share-lines.ts'
import { decodeAnyShare } from '../../src/core/share/share-text.ts'
import { kvx, type CliResult, kvxJson, type KvxDocument } from '../support/cli.ts'
import { GpgHome } from '../support/gpg.ts'
import { Terminal } from '../support/terminal.ts'

export const people = ['A. Boole', 'C. Dirac', 'E. Fermi'] as const

/** A place where ceremonies are held: three custodians and a witness with OpenPGP keys, a configuration, a home. */
export class CeremonySite {
  readonly path = mkdtempSync('/var/tmp/kvx-ceremony-')
  readonly gpg = new GpgHome()
  readonly env: Record<string, string> = { HOME: this.path, GNUPGHOME: this.gpg.path, LC_ALL: 'C' }
  readonly witness = this.gpg.makeKey('E. Noether <witness@example.org>')
  readonly people: readonly string[]
  readonly custodians: readonly string[]

  constructor(count: 2 | 3 = 3) {
    this.people = people.slice(0, count)
    this.custodians = this.people.map((name, at) => this.gpg.makeKey(`${name} <${at}@example.org>`))
    const named = this.people.map((name, at) => `{ name: ${name}, openpgp: ${this.custodians[at] ?? ''} }`)
    const text = [
      'kvx: 1',
      'keys:',
      '  master:',
      '    purpose: kek',
      '    publish: [{ file: published.key, previous: published.key.previous }]',
      `    backup: { shares: { threshold: 2, of: ${count}, custodians: [${named.join(', ')}] } }`,
      '',
    ]
    writeFileSync(join(this.path, 'kvx.yaml'), text.join('\n'), { mode: 0o600 })
    this.json('init')
  }

  file(...names: string[]): string {
    return join(this.path, ...names)
  }

  input(input: string | Uint8Array, ...args: string[]): CliResult {
    return kvx(args, { cwd: this.path, env: this.env, input })
  }

  json<T = Record<string, unknown>>(...args: string[]): KvxDocument<T> {
    return kvxJson<T>(args, { cwd: this.path, env: this.env })
  }

  terminal(...args: string[]): Terminal {
    return new Terminal(args, { cwd: this.path, env: this.env })
  }

  fingerprint(name: string): string {
    const ring = JSON.parse(readFileSync(this.file('.kvx/keyring.json'), 'utf8')) as {
      keys: Record<string, { versions: Record<string, { fingerprint: string }> }>
    }
    return ring.keys[name]?.versions['1']?.fingerprint ?? ''
  }

  /** What custodian `index` reads after opening the file of the newest set below `home`. */
  letter(home: string, index: number): Buffer {
    const root = join(home, 'backups/shares')
    const folders = readdirSync(root).filter((name) => !name.startsWith('.'))
    const [folder = ''] = folders
      .map((name) => join(root, name))
      .toSorted((one, other) => createdOf(other).localeCompare(createdOf(one)))
    const file = readdirSync(folder).find((name) => name.endsWith(`share-${index}.asc`)) ?? ''
    return this.gpg.decrypt(readFileSync(join(folder, file)))
  }

  /** The receipt that custodian `index` reads out of the file of the newest set below `home`. */
  receipt(home: string, index: number): string {
    const [text] = splitShareTexts(this.letter(home, index))
    return shareReceipt(decodeAnyShare(text ?? new Uint8Array()), 1)
  }

  close(): void {
    this.gpg.remove()
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** When a set was dealt, of its folder. */
function createdOf(folder: string): string {
  const manifest = `${folder.split('.').at(-1) ?? ''}.json`
  return (JSON.parse(readFileSync(join(folder, manifest), 'utf8')) as { created: string }).created
}

/** From the first question to the first step: two people are introduced, and the custodians. */
export async function openCeremony(
  terminal: Terminal,
  others: readonly string[] = ['E. Noether', ...people],
): Promise<void> {
  await terminal.see('SHA-256 of the plan')
  await terminal.answer('same SHA-256')
  await terminal.answer('to the minute?')
  await terminal.answer('Where does this take place?', 'Room 4, Geneva')
  await terminal.answer('Image that this machine')
  await terminal.answer('Name of the administrator', 'D. Hilbert')
  await terminal.answer('that this is D. Hilbert?', 'passport')
  await terminal.answer('OpenPGP fingerprint that D. Hilbert')
  for (const name of others) await terminal.answer(`that this is ${name}?`, 'known for years')
}

/** Enter, the facts that the step asks for, no deviation. */
export async function step(
  terminal: Terminal,
  title: string,
  ...answers: readonly (readonly [string, string])[]
) {
  await terminal.see(`: ${title}`)
  await terminal.answer('q: stop here')
  for (const [question, reply] of answers) await terminal.answer(question, reply)
  await terminal.answer('Was anything not as it stands')
}
