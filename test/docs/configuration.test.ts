import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { parseConfig } from '../../src/config/config.ts'
import { configTemplate } from '../../src/config/template.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { compileEnvelopes } from '../../src/migration/envelope/compile-envelope.ts'
import { root } from '../support/cli.ts'
import { blocks, page, writtenPages } from './pages.ts'

const examples = writtenPages().flatMap((each) =>
  blocks(each)
    .filter(({ language }) => language === 'yaml')
    .map(({ text }, at) => [`${each.path}, block ${at + 1}`, text] as const),
)
const schemaFile = join(root, 'docs/schemas/kvx.yaml.json')
const jsonSchema = JSON.parse(readFileSync(schemaFile, 'utf8')) as z.core.JSONSchema.JSONSchema

describe('the YAML of the documents', () => {
  test('is there', () => expect(examples.length).toBeGreaterThan(10))

  test.each(examples)('is a configuration: %s', (_, text) => {
    const config = parseConfig('/srv/app/kvx.yaml', Buffer.from(text))
    expect(compileEnvelopes(config)).toHaveLength(Object.keys(config.envelopes).length)
  })

  test.each(examples)('fits the schema that editors use: %s', (_, text) => {
    expect(z.fromJSONSchema(jsonSchema).safeParse(parse(text)).error?.issues).toBeUndefined()
  })
})

describe('the schema for editors', () => {
  test('takes what `kvx init` writes', () => {
    expect(accepts(parse(configTemplate('/var/lib/kvx')))).toBe(true)
  })

  test.each([
    ['a member that does not exist', { kvx: 1, key: {} }],
    ['another version', { kvx: 2 }],
    ['a purpose that does not exist', { kvx: 1, keys: { a: { purpose: 'x' } } }],
    [
      'a recipient that is no fingerprint',
      { kvx: 1, keys: { a: { purpose: 'kek', backup: { recipients: ['me'] } } } },
    ],
  ])('refuses %s, as kvx does', (_, data) => {
    expect(accepts(data)).toBe(false)
    expect(refusal(JSON.stringify(data))).toBe('CONFIG_INVALID')
  })

  test('is named in the first line of what `kvx init` writes, where the file is', () => {
    const [first] = configTemplate(undefined).split('\n')
    expect(first).toBe(`# yaml-language-server: $schema=${schemaFile}`)
  })
})

test('every member of kvx.yaml stands in docs/configuration.md, docs/envelopes.md or docs/stores.md', () => {
  const text = ['configuration', 'envelopes', 'stores'].map((name) => page(`docs/${name}.md`).text).join('\n')
  const members = [...new Set(memberNames(jsonSchema))]
  expect(members.length).toBeGreaterThan(30)
  const spoken = (name: string): boolean => new RegExp(`\`([\\w.-]+\\.)?${name}(\\.[\\w.]+)?\``).test(text)
  expect(members.filter((name) => !spoken(name))).toEqual([])
})

function accepts(data: unknown): boolean {
  return z.fromJSONSchema(jsonSchema).safeParse(data).success
}

function refusal(text: string): string | undefined {
  try {
    parseConfig('/srv/app/kvx.yaml', Buffer.from(text))
    return undefined
  } catch (error) {
    return isKvxError(error) ? error.code : 'not an error of the catalogue'
  }
}

/** Names of members anywhere in a JSON Schema. */
function memberNames(schema: unknown): readonly string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const { properties = {} } = schema as { properties?: Record<string, unknown> }
  return [...Object.keys(properties), ...Object.values(schema).flatMap(memberNames)]
}
