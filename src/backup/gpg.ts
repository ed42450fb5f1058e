import { isKvxError, KvxError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { runChild } from '../platform/child.ts'
import { readFileCapped } from '../platform/files.ts'
import { judgeDecryption, type OpenedBy, parseStatus } from './gpg-status.ts'
import { readFraming } from './packets.ts'

/** In bytes; a backup to 32 recipients has about 15 kB. */
export const maxBackupSize = 1024 * 1024

const machineTimeout = 120_000
const personTimeout = 600_000 // pinentry, cards and their touch buttons need a person's time

const passedOn = ['HOME', 'GNUPGHOME', 'GPG_TTY', 'TERM', 'XDG_RUNTIME_DIR'] as const

/** The variables without which gpg finds neither its keyring nor a pinentry, where they are set. */
export function gpgEnvironment(
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string> {
  const entries = passedOn.map((name) => [name, environment[name]] as const)
  return Object.fromEntries(
    entries.filter((entry): entry is [(typeof passedOn)[number], string] => !!entry[1]),
  )
}

export type GpgOptions = {
  /** The keyring at hand: `gpgEnvironment()` unless told. */
  readonly gpgEnv?: Readonly<Record<string, string>>
  /** Lets pinentry ask a person. Otherwise a locked key is a refusal at once; nothing ever waits. */
  readonly interactive?: boolean
}

export type DecryptOptions = GpgOptions & {
  /** Full fingerprints (primary or subkey) of which one must have opened the message. */
  readonly accept?: readonly string[]
}

/** `plaintext` belongs to the caller, who wipes it. */
export type Decrypted = OpenedBy & { readonly plaintext: Secret }

/**
 * Opens a message, given as bytes or as the path of a file, with the gpg and the private keys at hand.
 * @throws KvxError with `details.reason`: WRONG_KEY (no private key here; a locked one), NO_TERMINAL (locked,
 * not interactive), BACKUP_UNUSABLE (damaged, cut off, never encrypted, several messages, no message),
 * TOOL_MISSING, TOOL_FAILED, FILE_NOT_FOUND. Whatever gpg printed is wiped before.
 */
export async function decryptWithGpg(
  source: Uint8Array | string,
  options: DecryptOptions = {},
): Promise<Decrypted> {
  const bytes = typeof source === 'string' ? await readBackup(source) : source
  const interactive = options.interactive === true
  const result = await runChild('gpg', decryptArguments(interactive), {
    input: bytes,
    pipes: ['out'],
    env: options.gpgEnv ?? gpgEnvironment(),
    timeoutMs: interactive ? personTimeout : machineTimeout,
    maxOutput: maxBackupSize,
  })
  result.stderr.fill(0)
  const verdict = judgeDecryption({
    exitCode: result.exitCode,
    status: parseStatus(result.pipes[0] ?? Buffer.alloc(0)),
    framing: readFraming(bytes),
    interactive,
    ...(options.accept === undefined ? {} : { accept: options.accept }),
  })
  if (verdict instanceof KvxError) {
    result.stdout.fill(0)
    throw verdict
  }
  return { ...verdict, plaintext: Secret.take(result.stdout) }
}

/** The encrypted bytes of a backup. Links are followed: backups are often reached through one. */
export async function readBackup(path: string): Promise<Buffer> {
  return (await readFileCapped(path, { maxBytes: maxBackupSize, follow: true })).bytes
}

/** `--batch` does not stop pinentry, `--pinentry-mode error` does. */
function decryptArguments(interactive: boolean): string[] {
  const quiet = interactive ? [] : ['--pinentry-mode', 'error']
  return ['--batch', '--no-tty', '--no-auto-key-retrieve', ...quiet, '--status-fd', '3', '--decrypt']
}

/**
 * The public key of a full fingerprint out of the keyring at hand, binary; empty when it is not there.
 * @throws KvxError TOOL_MISSING, TOOL_FAILED
 */
export async function exportPublicKey(fingerprint: string, options: GpgOptions = {}): Promise<Buffer> {
  const result = await runChild('gpg', ['--batch', '--no-tty', '--export', fingerprint], {
    env: options.gpgEnv ?? gpgEnvironment(),
    timeoutMs: machineTimeout,
  })
  if (result.exitCode === 0) return result.stdout
  throw new KvxError('TOOL_FAILED', `gpg could not export the public key ${fingerprint}`, {
    hint: `see \`gpg --export ${fingerprint} | wc -c\``,
    details: { tool: 'gpg', exitCode: result.exitCode },
  })
}

/** The reason of a refusal of `decryptWithGpg`, or undefined for other errors. */
export function openProblemOf(error: unknown): string | undefined {
  if (!isKvxError(error)) return undefined
  const reason = error.details['reason']
  return typeof reason === 'string' ? reason : undefined
}
