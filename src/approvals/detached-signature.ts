import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { signWithGpg } from '../backup/gpg-signature.ts'
import { KvxError } from '../core/errors.ts'
import { parseSshSignature, sshFingerprint, verifySshSignature } from '../core/ssh-signature.ts'
import { runChild } from '../platform/child.ts'
import { quotedPath } from '../platform/file-errors.ts'

/** The key that signs. kvx never sees it: gpg or ssh-keygen does the signing, with an agent or a security key too. */
export type SigningWith =
  | { readonly kind: 'openpgp'; readonly fingerprint: string }
  | { readonly kind: 'ssh'; readonly keyFile: string }

export type DetachedSignature = {
  readonly signature: Buffer
  /** 40 hex digits, or `SHA256:…`. */
  readonly fingerprint: string
  /** What its file ends in, behind the name of what is signed and a dot: another one for each key. */
  readonly suffix: string
}

/** `40 HEX DIGITS` is an OpenPGP key, anything else the path of an SSH key. */
export function parseSigningKey(text: string): SigningWith {
  const digits = text.replaceAll(/\s/g, '').toUpperCase()
  return /^[0-9A-F]{40}$/.test(digits)
    ? { kind: 'openpgp', fingerprint: digits }
    : { kind: 'ssh', keyFile: text }
}

const personTimeout = 600_000 // a passphrase, a card or a security key needs a person's time

/**
 * Signs bytes with the key at hand.
 * @param options.namespace what an SSH signature is for; one of another namespace counts nowhere
 * @param options.interactive lets gpg and ssh-keygen ask for a passphrase or a touch
 * @throws TOOL_MISSING, TOOL_FAILED
 */
export async function signDetached(
  bytes: Uint8Array,
  signing: SigningWith,
  options: { readonly namespace: string; readonly interactive: boolean },
): Promise<DetachedSignature> {
  return signing.kind === 'openpgp'
    ? signWithOpenpgp(bytes, signing.fingerprint, options.interactive)
    : signWithSsh(bytes, signing.keyFile, options)
}

async function signWithOpenpgp(
  bytes: Uint8Array,
  fingerprint: string,
  interactive: boolean,
): Promise<DetachedSignature> {
  const signature = await signWithGpg(bytes, fingerprint, { interactive })
  return { signature, fingerprint, suffix: `${fingerprint.slice(-16).toLowerCase()}.asc` }
}

const passedOn = ['HOME', 'SSH_AUTH_SOCK', 'TERM', 'DISPLAY', 'WAYLAND_DISPLAY', 'SSH_ASKPASS'] as const

async function signWithSsh(
  bytes: Uint8Array,
  keyFile: string,
  { namespace, interactive }: { readonly namespace: string; readonly interactive: boolean },
): Promise<DetachedSignature> {
  const path = resolve(keyFile)
  const env = Object.fromEntries(
    passedOn.map((name) => [name, process.env[name] ?? '']).filter(([, set]) => set),
  )
  const { exitCode, stdout } = await runChild(
    'ssh-keygen',
    ['-q', '-Y', 'sign', '-f', path, '-n', namespace],
    {
      input: bytes,
      env,
      // In a session of its own it has no terminal to ask at.
      ownSession: !interactive,
      timeoutMs: personTimeout,
    },
  )
  const signature = parseSshSignature(stdout.toString('latin1'))
  if (exitCode !== 0 || signature === undefined || !verifySshSignature(signature, bytes, namespace)) {
    throw new KvxError('TOOL_FAILED', 'ssh-keygen made no signature: the key is not here, or stays locked', {
      hint: `Look whether the key is at hand: \`ssh-keygen -y -f ${quotedPath(path)}\`. On a terminal a passphrase can be given. Nothing was written.`,
      details: { tool: 'ssh-keygen' },
    })
  }
  const id = createHash('sha256').update(signature.publicKey).digest('hex').slice(0, 16)
  return { signature: stdout, fingerprint: sshFingerprint(signature.publicKey), suffix: `${id}.sig` }
}
