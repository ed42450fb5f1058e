import { gpgEnvironment, type GpgOptions } from './gpg.ts'
import { parseStatus } from './gpg-status.ts'
import { KvxError } from '../core/errors.ts'
import { runChild } from '../platform/child.ts'

const personTimeout = 600_000 // pinentry, cards and their touch buttons need a person's time
const machineTimeout = 60_000

/**
 * A detached, armored signature of the OpenPGP key at hand.
 * @param openpgp full fingerprint of the key
 * @throws TOOL_FAILED when gpg has no such private key or nobody unlocked it; TOOL_MISSING
 */
export async function signWithGpg(
  bytes: Uint8Array,
  openpgp: string,
  options: GpgOptions = {},
): Promise<Buffer> {
  const quiet = options.interactive === true ? [] : ['--pinentry-mode', 'error']
  const result = await runChild(
    'gpg',
    ['--batch', '--no-tty', ...quiet, '--armor', '--local-user', openpgp, '--detach-sign'],
    { input: bytes, env: options.gpgEnv ?? gpgEnvironment(), timeoutMs: personTimeout },
  )
  if (result.exitCode === 0 && result.stdout.length > 0) return result.stdout
  throw new KvxError('TOOL_FAILED', 'gpg made no signature: the key is not here, or stays locked', {
    hint: `Look whether the key is at hand: \`gpg --list-secret-keys ${openpgp}\`. On a terminal a passphrase can be given. Nothing was written.`,
    details: { tool: 'gpg' },
  })
}

export type SignatureVerdict =
  | {
      readonly state: 'good'
      readonly by: string
      readonly primary: string
      readonly note: string | undefined
    }
  | { readonly state: 'no-key'; readonly by: string }
  | { readonly state: 'bad' }

/**
 * What gpg says of a detached signature. Only the status lines count. A key that expired since is noted; a revoked
 * one is bad.
 */
export async function verifyWithGpg(
  bytes: Uint8Array,
  signature: Uint8Array,
  options: GpgOptions = {},
): Promise<SignatureVerdict> {
  // gpg reads the signature from the first name and the data from the second.
  const result = await runChild(
    'gpg',
    [
      '--batch',
      '--no-tty',
      '--no-auto-key-retrieve',
      '--enable-special-filenames',
      '--status-fd',
      '4',
      '--verify',
      '--',
      '-&3',
      '-',
    ],
    {
      input: bytes,
      pipes: [signature, 'out'],
      env: options.gpgEnv ?? gpgEnvironment(),
      timeoutMs: machineTimeout,
    },
  )
  const status = parseStatus(result.pipes[1] ?? Buffer.alloc(0)).map((line) => line.split(' '))
  const find = (word: string): readonly string[] | undefined => status.find(([first]) => first === word)
  const missing = find('NO_PUBKEY')
  if (missing !== undefined) return { state: 'no-key', by: missing[1] ?? '' }
  const valid = find('VALIDSIG')
  const isOne =
    status.filter(([first]) => first === 'VALIDSIG' || first === 'BADSIG' || first === 'ERRSIG').length === 1
  if (valid === undefined || !isOne || find('REVKEYSIG') !== undefined || find('EXPSIG') !== undefined) {
    return { state: 'bad' }
  }
  const by = valid[1] ?? ''
  return {
    state: 'good',
    by,
    primary: valid[10] ?? by,
    note: find('EXPKEYSIG') === undefined ? undefined : 'the key expired since',
  }
}
