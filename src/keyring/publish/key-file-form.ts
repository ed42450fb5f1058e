import { basename } from 'node:path'
import type { KeyFilePlace } from '../../config/publishers.ts'
import { isKvxError } from '../../core/errors.ts'
import { decodeKey, encodeKey } from '../../core/key-encoding.ts'
import type { Secret } from '../../core/secret.ts'
import { runChild, toolFailed } from '../../platform/child.ts'
import { requireTool } from '../../platform/tools.ts'
import { keyLengths } from '../key-lengths.ts'

/** How a key lies in a file of its own. Buffers that are returned are the caller's, who wipes them. */
export type KeyFileForm = {
  encode(material: Secret, path: string): Promise<Buffer>
  /** @throws KEY_MALFORMED and its like; TOOL_FAILED for a credential that this machine cannot decrypt */
  decode(bytes: Buffer, path: string): Promise<Secret>
  /** Whether these bytes need not be written again. */
  holds(bytes: Buffer, path: string, material: Secret): Promise<boolean>
  /** @throws TOOL_MISSING */
  check(): Promise<void>
}

const toolMs = 60_000
const maxCredentialBytes = 1_048_576

export function keyFileForm(place: KeyFilePlace): KeyFileForm {
  const plain: KeyFileForm = {
    encode: async (material) => Buffer.from(encodeKey(material, place.encoding)),
    decode: async (bytes) => decodeKey(bytes, place.encoding, keyLengths(place.encoding)).material,
    holds: async (bytes, path, material) => {
      const wanted = await plain.encode(material, path)
      const same = wanted.equals(bytes)
      wanted.fill(0)
      return same
    },
    check: async () => undefined,
  }
  return place.encrypted ? encryptedForm(plain) : plain
}

/**
 * `LoadCredentialEncrypted=`: encrypted to this machine by `systemd-creds`, which binds the name of the credential.
 * That is the file's, without `.cred` at its end. The key goes through pipes alone.
 */
function encryptedForm(plain: KeyFileForm): KeyFileForm {
  const form: KeyFileForm = {
    encode: async (material, path) => {
      const bytes = await plain.encode(material, path)
      try {
        return await systemdCreds('encrypt', path, bytes)
      } finally {
        bytes.fill(0)
      }
    },
    decode: async (bytes, path) => {
      const opened = await systemdCreds('decrypt', path, bytes)
      try {
        return await plain.decode(opened, path)
      } finally {
        opened.fill(0)
      }
    },
    // Each encryption is another text: what counts is the key in it.
    holds: async (bytes, path, material) => {
      try {
        const found = await form.decode(bytes, path)
        const same = found.equals(material)
        found.wipe()
        return same
      } catch (error) {
        if (isKvxError(error)) return false
        throw error
      }
    },
    check: async () => void requireTool('systemd-creds'),
  }
  return form
}

async function systemdCreds(verb: 'encrypt' | 'decrypt', path: string, input: Buffer): Promise<Buffer> {
  const name = credentialName(path)
  const { exitCode, stdout, stderr } = await runChild('systemd-creds', [verb, `--name=${name}`, '-', '-'], {
    input,
    timeoutMs: toolMs,
    maxOutput: maxCredentialBytes,
  })
  stderr.fill(0)
  if (exitCode === 0) return stdout
  stdout.fill(0)
  throw toolFailed('systemd-creds', exitCode, `was to ${verb} the credential ${name}`)
}

/** A file that waits under another name is still the same credential. */
function credentialName(path: string): string {
  return basename(path)
    .replace(/^\.(.*)\.kvx-withdrawn$/, '$1')
    .replace(/\.cred$/, '')
}
