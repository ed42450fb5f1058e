import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { completeValues, fill } from '../../src/templates/render.ts'
import { listTemplates, type Template } from '../../src/templates/template.ts'
import { kvxJson, root } from '../support/cli.ts'
import { page } from '../docs/pages.ts'

const folder = mkdtempSync('/var/tmp/kvx-templates-')
const env = { HOME: folder, LC_ALL: 'C' }
const templates = await listTemplates()

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function json<T = Record<string, unknown>>(...args: string[]) {
  return kvxJson<T>(args, { cwd: folder, env })
}

const made: Template = {
  name: 'made',
  summary: '',
  out: undefined,
  parameters: {
    user: { description: 'who runs it', default: undefined },
    service: { description: 'its name', default: 'kvx-@user@' },
  },
  files: [],
  next: [],
}

describe('values of placeholders', () => {
  it('come from the operator, else from what kvx knows, else from the default', () => {
    expect(completeValues(made, {}, { user: 'op' })).toEqual({ user: 'op', service: 'kvx-op' })
    expect(completeValues(made, { user: 'b', service: 'c' }, { user: 'op' })).toEqual({
      user: 'b',
      service: 'c',
    })
    expect(() => completeValues(made, {}, {})).toThrow('needs a value for user')
    expect(() => completeValues(made, { typo: 'x' }, { user: 'op' })).toThrow('no parameter "typo"')
  })

  it.each(['a"b', "a'b", 'a\nb', 'a$b', 'a`b', 'a\\b', ''])(
    'are refused when they could end their quotes: %j',
    (value) => {
      expect(() => completeValues(made, { user: value }, {})).toThrow('does not fit')
    },
  )

  it('replace declared words alone', () => {
    expect(fill('@user@ a@b.example @other@ kvx@.service {{ $x }}', { user: 'op' })).toBe(
      'op a@b.example @other@ kvx@.service {{ $x }}',
    )
  })
})

describe.each(templates.map((template) => ({ name: template.name, template })))(
  'template $name',
  ({ name, template }) => {
    it('describes every file of its folder, and declares every placeholder', () => {
      const at = join(root, 'templates', name)
      const files = readdirSync(at, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(at.length + 1))
      expect([...template.files.map(({ path }) => path), 'template.yaml'].toSorted()).toEqual(
        files.toSorted(),
      )
      const values = completeValues(
        template,
        Object.fromEntries(Object.keys(template.parameters).map((key) => [key, 'x'])),
        {},
      )
      const texts = [...template.files.map(({ bytes }) => bytes.toString('utf8')), ...template.next]
      const left = texts.flatMap(
        (text) => fill(text, { ...values, directory: 'x' }).match(/@[a-z][a-z0-9-]*@/g) ?? [],
      )
      expect(left).toEqual([])
    })

    it('is named in the documents', () => expect(page('docs/templates.md').text).toContain(`| \`${name}\` |`))
  },
)

describe('kvx template', () => {
  it('lists what there is', () => {
    const { data } = json<{ templates: readonly { name: string }[] }>('template', 'list')
    expect(data.templates.map(({ name }) => name)).toEqual(templates.map(({ name }) => name))
    expect(json('template', 'render', 'nothing').error?.message).toBe('there is no template "nothing"')
  })

  it('writes the recovery kit without a configuration, where it is told to', () => {
    expect(json('template', 'render', 'recovery').error).toMatchObject({
      code: 'USAGE',
      hint: 'Name the folder: `kvx template render recovery --out DIR`.',
    })
    const out = join(folder, 'kit')
    expect(json('template', 'render', 'recovery', '--out', out).exit).toBe(0)
    expect(readFileSync(join(out, 'recover.py'))).toEqual(
      readFileSync(join(root, 'templates/recovery/recover.py')),
    )
    expect(readFileSync(join(out, 'README.txt'), 'utf8')).toContain('ask the owner of the data')
    expect(statSync(join(out, 'README.txt')).mode & 0o777).toBe(0o644)
  })

  it('writes it beside the backups of a home, with the fingerprint of its audit key', () => {
    const { data } = json<{ auditFingerprint: string }>('init', '--no-input')
    expect(json('template', 'render', 'recovery').data).toMatchObject({
      directory: join(folder, '.kvx/backups'),
    })
    expect(readFileSync(join(folder, '.kvx/backups/README.txt'), 'utf8')).toContain(data.auditFingerprint)
    expect(json<{ backups: unknown[] }>('backup', 'list').data.backups).toEqual([])
  })

  it('may be repeated, and never replaces what differs', () => {
    const out = join(folder, 'again')
    mkdirSync(out)
    writeFileSync(join(out, 'recover.py'), 'mine')
    const refused = json('template', 'render', 'recovery', '--out', out)
    expect(refused).toMatchObject({ exit: 2, error: { code: 'TARGET_EXISTS' } })
    expect(readdirSync(out)).toEqual(['recover.py'])
    rmSync(join(out, 'recover.py'))
    json('template', 'render', 'recovery', '--out', out)
    const { data } = json<{ files: readonly { state: string }[] }>(
      'template',
      'render',
      'recovery',
      '--out',
      out,
    )
    expect(new Set(data.files.map(({ state }) => state))).toEqual(new Set(['same']))
  })

  it('takes a value from --set, and no unknown one', () => {
    const out = join(folder, 'set')
    json('template', 'render', 'recovery', '--out', out, '--set', 'audit-fingerprint=on the card')
    expect(readFileSync(join(out, 'README.txt'), 'utf8')).toContain('    on the card\n')
    expect(json('template', 'render', 'recovery', '--set', 'x=1').error?.code).toBe('USAGE')
    expect(json('template', 'render', 'recovery', '--set', 'x').error?.message).toContain('NAME=VALUE')
  })
})
