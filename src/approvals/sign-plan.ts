import { createHash } from 'node:crypto'
import { resolve } from 'node:path'
import { signWithGpg } from '../backup/gpg-signature.ts'
import { KvxError } from '../core/errors.ts'
import { parseSshSignature, sshFingerprint, verifySshSignature } from '../core/ssh-signature.ts'
import { runChild } from '../platform/child.ts'
import { createFile } from '../platform/create-file.ts'
import { quotedPath } from '../platform/file-errors.ts'
import { sshNamespace } from './approvals.ts'
import type { ReadPlanFile } from './plan-file.ts'

/** The key that signs. kvx never sees it: gpg or ssh-keygen does the signing, with an agent or a security key too. */
export type SigningWith =
  | { readonly kind: 'openpgp'; readonly fingerprint: string }
  | { readonly kind: 'ssh'; readonly keyFile: string }

export type SignedPlan = { readonly file: string; readonly fingerprint: string }

const personTimeout = 600_000 // a passphrase, a card or a security key needs a person's time

/**
 * Signs the bytes of a plan and puts the signature beside it, never over another file.
 * @param interactive lets gpg and ssh-keygen ask for a passphrase or a touch
 * @throws TOOL_MISSING, TOOL_FAILED, TARGET_EXISTS
 */
export async function signPlan(
  plan: ReadPlanFile,
  path: string,
  signing: SigningWith,
  interactive: boolean,
): Promise<SignedPlan> {
  const made =
    signing.kind === 'openpgp'
      ? await signWithOpenpgp(plan.bytes, signing.fingerprint, interactive)
      : await signWithSsh(plan.bytes, signing.keyFile, interactive)
  const file = `${resolve(path)}.${made.suffix}`
  await createFile(file, made.signature, { mode: 0o644 })
  return { file, fingerprint: made.fingerprint }
}

type Made = { readonly signature: Buffer; readonly fingerprint: string; readonly suffix: string }

async function signWithOpenpgp(bytes: Uint8Array, fingerprint: string, interactive: boolean): Promise<Made> {
  const signature = await signWithGpg(bytes, fingerprint, { interactive })
  return { signature, fingerprint, suffix: `${fingerprint.slice(-16).toLowerCase()}.asc` }
}

const passedOn = ['HOME', 'SSH_AUTH_SOCK', 'TERM', 'DISPLAY', 'WAYLAND_DISPLAY', 'SSH_ASKPASS'] as const

async function signWithSsh(bytes: Uint8Array, keyFile: string, interactive: boolean): Promise<Made> {
  const path = resolve(keyFile)
  const env = Object.fromEntries(
    passedOn.map((name) => [name, process.env[name] ?? '']).filter(([, set]) => set),
  )
  const { exitCode, stdout } = await runChild(
    'ssh-keygen',
    ['-q', '-Y', 'sign', '-f', path, '-n', sshNamespace],
    {
      input: bytes,
      env,
      // In a session of its own it has no terminal to ask at.
      ownSession: !interactive,
      timeoutMs: personTimeout,
    },
  )
  const signature = parseSshSignature(stdout.toString('latin1'))
  if (exitCode !== 0 || signature === undefined || !verifySshSignature(signature, bytes, sshNamespace)) {
    throw new KvxError('TOOL_FAILED', 'ssh-keygen made no signature: the key is not here, or stays locked', {
      hint: `Look whether the key is at hand: \`ssh-keygen -y -f ${quotedPath(path)}\`. On a terminal a passphrase can be given. Nothing was written.`,
      details: { tool: 'ssh-keygen' },
    })
  }
  const id = createHash('sha256').update(signature.publicKey).digest('hex').slice(0, 16)
  return { signature: stdout, fingerprint: sshFingerprint(signature.publicKey), suffix: `${id}.sig` }
}
