/**
 * A process of its own that calls one function of src/platform: `platform-call.ts MODULE FUNCTION ARGS`, where
 * ARGS is JSON and `{"utf8": "…"}` stands for bytes. Prints the result or the error as JSON.
 */
import { inspect } from 'node:util'
import { KvxError } from '../../src/core/errors.ts'

const [module = '', name = '', json = '[]'] = process.argv.slice(2)

function revive(_key: string, value: unknown): unknown {
  if (typeof value === 'object' && value !== null && 'utf8' in value) return Buffer.from(String(value.utf8))
  if (typeof value === 'object' && value !== null && 'zeros' in value)
    return Buffer.alloc(Number(value.zeros))
  return value
}

function plain(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}

const functions = (await import(`../../src/platform/${module}`)) as Record<
  string,
  (...args: unknown[]) => unknown
>
try {
  const value = await functions[name]?.(...(JSON.parse(json, revive) as unknown[]))
  console.log(JSON.stringify({ value }, plain))
} catch (error) {
  if (!(error instanceof KvxError)) throw error
  const { code, message, hint, exit } = error
  console.log(JSON.stringify({ error: { code, message, hint, exit, all: inspect(error, { depth: 9 }) } }))
}
