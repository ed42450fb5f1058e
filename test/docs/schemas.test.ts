import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type DocumentName, documentNames, documentSchema } from '../../src/ui/schemas.ts'
import { plainTwoLevels } from '../support/application.ts'
import { type KvxDocument, root } from '../support/cli.ts'
import { commandFacts } from '../support/commands.ts'
import { GpgHome } from '../support/gpg.ts'
import { makeWorkspace } from '../support/workspace.ts'

const sources = [...(await commandFacts()).values()].map(({ file }) => readFileSync(file, 'utf8'))
const printed = sources.flatMap((text) =>
  [...text.matchAll(/finish\('(kvx\.[a-z.-]+\/\d+)'/g)].map(([, name = '']) => name),
)

test('every command has one document, and each document a schema', () => {
  expect(printed.toSorted()).toEqual([...new Set(printed)].toSorted())
  // What names no command is an error alone.
  expect([...documentNames].toSorted()).toEqual([...printed, 'kvx.error/1'].toSorted())
})

test('the published schemas are those of the documents and of kvx.yaml', () => {
  const files = readdirSync(join(root, 'docs/schemas')).toSorted()
  const expected = [...documentNames.map((name) => `${name.replace('/', '.')}.json`), 'kvx.yaml.json']
  expect(files).toEqual(expected.toSorted())
})

function published(name: string): z.ZodType {
  const file = join(root, 'docs/schemas', `${name.replace('/', '.')}.json`)
  return z.fromJSONSchema(JSON.parse(readFileSync(file, 'utf8')) as z.core.JSONSchema.JSONSchema)
}

/** Members of the document that its schema does not name: a parse leaves them out. */
function unnamed(document: unknown, parsed: unknown, at = ''): readonly string[] {
  if (Array.isArray(document) && Array.isArray(parsed)) {
    return document.flatMap((item, index) => unnamed(item, parsed[index], `${at}[${index}]`))
  }
  if (typeof document !== 'object' || document === null || typeof parsed !== 'object' || parsed === null)
    return []
  return Object.entries(document).flatMap(([name, value]) =>
    name in parsed
      ? unnamed(value, (parsed as Record<string, unknown>)[name], `${at}.${name}`)
      : [`${at}.${name}`],
  )
}

describe('the life of a key in documents', () => {
  const gpg = new GpgHome()
  const workspace = makeWorkspace({
    shape: plainTwoLevels,
    rows: 8,
    gpg,
    recipients: [gpg.makeKey('a@example.org')],
  })
  afterAll(() => {
    workspace.close()
    gpg.remove()
  })
  const seen = new Set<string>()

  function look(...args: string[]): KvxDocument {
    const document = workspace.json(...args)
    seen.add(document.schema)
    const parsed = documentSchema(document.schema as DocumentName).parse(document)
    expect(unnamed(document, parsed), args.join(' ')).toEqual([])
    expect(published(document.schema).safeParse(document).error?.issues, args.join(' ')).toBeUndefined()
    return document
  }

  test('every member is named in the schema that is published', () => {
    look('init')
    workspace.writeConfig()
    look('key', 'import', 'master')
    look('verify')
    look('rewrap', '--dry-run')
    const { data } = look('backup', 'create', 'master')
    look('backup', 'create', 'master', '--dry-run')
    look('backup', 'verify', String(data['id']), '--open')
    look('backup', 'confirm', String(data['id']), '--receipt', 'AAAA-AAAA-AAAA-AAAA')
    look('backup', 'list')
    look('backup', 'home', '--out', workspace.file('copy.json'))
    look('rotate', 'master', '--dry-run')
    look('rotate', 'master', '--stage', '--yes')
    look('rotate', 'master', '--unstage', '--yes')
    const rotation = look('rotate', 'master', '--offline', '--yes')
    look('status')
    look('status', '--due')
    const run = String(look('rewrap', '--yes', '--rolled-out').run)
    look('run', 'list')
    look('run', 'show', run)
    look('run', 'restore', run, '--dry-run')
    look('run', 'rollback', String(rotation.run), '--dry-run')
    look('run', 'resume')
    look('key', 'suspend', 'master@1', '--reason', 'a test', '--yes')
    look('key', 'resume', 'master@1', '--reason', 'a test', '--yes')
    look('retire', 'master@1', '--dry-run')
    look('retire', 'master@1', '--confirm', 'master@1')
    look('key', 'unretire', 'master@1', '--yes')
    look('retire', 'master@1', '--confirm', 'master@1')
    look('destroy', 'master@1', '--after', '1s', '--confirm', 'master@1')
    look('destroy', 'master@1', '--cancel')
    look('destroy', '--due')
    look('run', 'forget', run, '--confirm', run)
    look('key', 'list')
    look('key', 'show', 'master')
    look('key', 'publish', 'master')
    look('audit', 'show')
    look('audit', 'verify')
    look('doctor')
    look('check', 'app.env', '--only', 'files')
    look('inspect', 'app.db')
    look('keygen', 'other', '--dir', '.')
    look('reencrypt')
    expect(seen.size).toBeGreaterThan(28)
  })
})
