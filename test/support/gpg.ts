import { execFileSync, type ExecFileSyncOptions, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type KeyOptions = {
  /** `future-default` (ed25519 + cv25519) unless told; `rsa3072`, `nistp256`, … */
  readonly algorithm?: string
  /** `default`: both; `sign`: no encryption */
  readonly usage?: string
  /** `2y`, `seconds=1`, `never` */
  readonly expire?: string
  readonly passphrase?: string
  /** `20200101T000000`: the key is made at this time */
  readonly at?: string
}

/** A throw-away keyring with an agent of its own. */
export class GpgHome {
  readonly path = mkdtempSync(join(tmpdir(), 'kvxg-'))
  readonly env: Record<string, string> = { HOME: this.path, GNUPGHOME: this.path }

  /** Makes a key and returns the fingerprint of its primary key. */
  makeKey(userId: string, options: KeyOptions = {}): string {
    const { algorithm = 'future-default', usage = 'default', expire = 'never', passphrase = '', at } = options
    const time = at === undefined ? [] : ['--faked-system-time', at]
    const args = [...time, '--passphrase', passphrase, '--pinentry-mode', 'loopback']
    // With an algorithm of its own, gpg makes a primary key alone.
    const isAlone = usage === 'default' && algorithm !== 'future-default'
    this.run([...args, '--quick-generate-key', userId, algorithm, isAlone ? 'sign' : usage, expire])
    const fingerprint = this.fingerprint(`=${userId}`)
    if (isAlone) this.addSubkey(fingerprint, algorithm, options)
    return fingerprint
  }

  /** Adds a subkey for encryption to a key without one. */
  addSubkey(fingerprint: string, algorithm: string, options: Pick<KeyOptions, 'expire' | 'at'> = {}): void {
    const { expire = 'never', at } = options
    const time = at === undefined ? [] : ['--faked-system-time', at]
    const args = [...time, '--passphrase', '', '--pinentry-mode', 'loopback']
    this.run([...args, '--quick-add-key', fingerprint, algorithm, 'encr', expire])
  }

  /** Fingerprints of the primary key and its subkeys. */
  fingerprints(userId: string): string[] {
    const listing = this.run(['--with-colons', '--with-subkey-fingerprint', '--list-keys', userId]).toString()
    return [...listing.matchAll(/^fpr:+([0-9A-F]+):/gm)].map((match) => match[1] ?? '')
  }

  fingerprint(userId: string): string {
    return this.fingerprints(userId)[0] ?? ''
  }

  revoke(fingerprint: string): void {
    const certificate = readFileSync(join(this.path, 'openpgp-revocs.d', `${fingerprint}.rev`), 'utf8')
    this.run(['--import'], certificate.replace(':-----BEGIN', '-----BEGIN'))
  }

  exportPublic(fingerprint: string): Buffer {
    return this.run(['--armor', '--export', fingerprint])
  }

  import(key: Uint8Array | string): void {
    this.run(['--import'], key)
  }

  encrypt(plaintext: Uint8Array, ...recipients: string[]): Buffer {
    const to = recipients.flatMap((recipient) => ['--recipient', recipient])
    return this.run(['--trust-model', 'always', ...to, '--encrypt'], plaintext)
  }

  /** What a person types who has nothing but gpg. */
  decrypt(message: Uint8Array): Buffer {
    return this.run(['--decrypt'], message)
  }

  /** Puts a program in the place of pinentry: it answers every question, or cancels where `answer` is undefined. */
  usePinentry(answer: string | undefined): void {
    const program = join(this.path, 'pinentry')
    const reply =
      answer === undefined ? 'echo "ERR 83886179 Operation cancelled"' : `echo "D ${answer}"; echo OK`
    const script = `#!/bin/sh
echo OK
while read -r word rest; do
  case "$word" in
    GETPIN) ${reply};;
    BYE) echo OK; exit 0;;
    *) echo OK;;
  esac
done
`
    writeFileSync(program, script, { mode: 0o700 })
    writeFileSync(join(this.path, 'gpg-agent.conf'), `pinentry-program ${program}\n`)
    this.endAgent()
  }

  /** Ends the agent, which forgets every passphrase. */
  endAgent(): void {
    spawnSync('gpgconf', ['--kill', 'all'], { env: { ...this.env, PATH: process.env['PATH'] ?? '' } })
  }

  run(args: readonly string[], input?: Uint8Array | string): Buffer {
    const options: ExecFileSyncOptions = {
      env: { ...this.env, PATH: process.env['PATH'] ?? '', LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(input === undefined ? {} : { input }),
    }
    return Buffer.from(
      execFileSync('gpg', ['--batch', '--yes', '--no-tty', '--utf8-strings', ...args], options),
    )
  }

  /** Ends the agent and removes the keyring. */
  remove(): void {
    this.endAgent()
    rmSync(this.path, { recursive: true, force: true })
  }
}
