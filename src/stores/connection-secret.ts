import { isAbsolute } from 'node:path'
import type { SecretSource } from '../config/secret-source.ts'
import { expandVariables } from '../config/secret-source.ts'
import { KvxError } from '../core/errors.ts'
import { runChild, toolFailed } from '../platform/child.ts'
import { chosenVariables } from '../platform/environment.ts'
import { shownPath } from '../platform/file-errors.ts'
import { readFileCapped } from '../platform/files.ts'

const maxBytes = 16_384
const commandMs = 60_000

/**
 * The address of a server with its credentials, from where the configuration says.
 * @param what the member that it is about, for messages: `stores.app.postgres`
 * @throws CONFIG_INVALID when a variable is not set, UNSAFE_MODE, TOOL_FAILED
 */
export async function resolveSecret(source: SecretSource, what: string): Promise<string> {
  if (typeof source === 'string') return expandVariables(source, what)
  const text = 'file' in source ? await fromFile(source.file) : await fromCommand(source)
  const address = text.replace(/\r?\n$/, '')
  if (address !== '' && !/[\0\r\n]/.test(address)) return address
  throw new KvxError('CONFIG_INVALID', `${what}: what should be one line with the address is not one line`)
}

async function fromFile(path: string): Promise<string> {
  const { bytes, facts } = await readFileCapped(path, { maxBytes, follow: true })
  if ((facts.mode & 0o002) !== 0) {
    throw new KvxError('UNSAFE_MODE', `${shownPath(path)} can be written by everybody`, {
      hint: `Whoever writes it decides where kvx connects. Take the right away: \`chmod o-w ${path}\``,
    })
  }
  return bytes.toString('utf8')
}

async function fromCommand(source: { command: readonly string[]; env: readonly string[] }): Promise<string> {
  const [program = '', ...args] = source.command
  if (!isAbsolute(program)) throw new TypeError('the configuration was checked')
  const env = chosenVariables(source.env)
  const result = await runChild(program, args, { env, timeoutMs: commandMs, maxOutput: maxBytes })
  const text = result.stdout.toString('utf8')
  result.stdout.fill(0)
  if (result.exitCode === 0) return text
  throw toolFailed(shownPath(program), result.exitCode, 'was asked for the address of a store')
}
