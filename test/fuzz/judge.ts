import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isKvxError, type KvxError } from '../../src/core/errors.ts'
import type { Target } from './targets.ts'

const emitWarning = process.emitWarning.bind(process)

/** What is wrong with how the target took these bytes; undefined where all is as promised. */
export function faultOf(target: Target, bytes: Buffer): string | undefined {
  let warned: string | undefined
  // What a library warns of goes to standard error as it is.
  process.emitWarning = (warning: string | Error) => {
    warned = `a warning: ${String(warning)}`
  }
  try {
    target.read(Buffer.from(bytes))
    return warned
  } catch (error) {
    return warned ?? errorFault(target, error, bytes)
  } finally {
    process.emitWarning = emitWarning
  }
}

function errorFault(target: Target, error: unknown, bytes: Buffer): string | undefined {
  if (!isKvxError(error)) return error instanceof Error ? (error.stack ?? error.message) : String(error)
  if (error.code === 'BUG') return `BUG: ${error.message}`
  return target.secret === undefined ? undefined : leak(target, error, bytes)
}

const window = 8

/** Eight bytes of the secret in a row that an error repeats, and that it would not say of other bytes. */
function leak(target: Target, error: KvxError, bytes: Buffer): string | undefined {
  const secret = target.secret?.(bytes).toString('latin1') ?? ''
  const open = bytes.toString('latin1').slice(0, bytes.length - secret.length)
  for (const part of textsOf(error).flatMap(windows)) {
    if (!secret.includes(part) || open.includes(part) || isOwn(part)) continue
    const other = Buffer.from(
      open + secret.replaceAll(part, part.replaceAll(/[A-Za-z0-9]/g, another)),
      'latin1',
    )
    if (!saidOf(target, other).includes(part)) return `a part of the secret is in the error: ${error.message}`
  }
  return undefined
}

/** Another character of its kind, so that the input keeps its form. */
function another(character: string): string {
  return /[Zz9]/.test(character)
    ? ('Aa0'['Zz9'.indexOf(character)] ?? '')
    : String.fromCharCode(character.charCodeAt(0) + 1)
}

function saidOf(target: Target, bytes: Buffer): string {
  try {
    target.read(bytes)
    return ''
  } catch (error) {
    return isKvxError(error) ? textsOf(error).join('\n') : ''
  }
}

function textsOf({ message, hint, details }: KvxError): readonly string[] {
  return [message, hint ?? '', JSON.stringify(details)]
}

function windows(text: string): readonly string[] {
  return Array.from({ length: Math.max(0, text.length - window + 1) }, (_, at) => text.slice(at, at + window))
}

const own = new Map<string, boolean>()
let source: string | undefined

/** True for what stands in kvx's own source. */
function isOwn(part: string): boolean {
  const folder = join(import.meta.dirname, '../../src')
  source ??= readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n')
  const known = own.get(part) ?? source.includes(part)
  own.set(part, known)
  return known
}
