import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { readEntry, withEntry } from '../../src/keyring/publish/manifest-entry.ts'

const wanted = { path: '/srv/kek.yaml', name: 'app-kek', namespace: undefined }
const key = Buffer.from(randomBytes(32).toString('base64'))
const other = Buffer.from(randomBytes(32).toString('base64'))
const b64 = (bytes: Buffer): string => bytes.toString('base64')
const head = 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: app-kek # ours\n'

/** Manifests that hold `KEK`; `@` stands for its value in base64, `§` for the value itself. */
const forms: readonly (readonly [string, string])[] = [
  ['a plain value', `${head}data:\n  # above\n  KEK: @ # beside\n  OTHER: b3RoZXI=\ntype: Opaque\n`],
  ['a value in single quotes', `${head}data:\n  KEK: '@'\n`],
  ['a value in double quotes', `${head}data:\n  "KEK": "@"\n`],
  ['a folded value', `${head}data:\n  KEK: >-\n    @\n  OTHER: b3RoZXI=\n`],
  ['a literal value at the end', `${head}type: Opaque\ndata:\n  KEK: |\n    @\n`],
  ['a file without a last line break', `${head}data:\n  KEK: @`],
  ['lines that end as on Windows', `${head}data:\n  KEK: @\n  OTHER: b3RoZXI=\n`.replaceAll('\n', '\r\n')],
  ['JSON', `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"app-kek"},"data":{"KEK":"@","A":"YQ=="}}`],
  ['a map in braces', `${head}data: { A: YQ==, KEK: @, B: Yg== } # all\n`],
  ['the second of two documents', `# first\nkind: ConfigMap\n---\n${head}data:\n  KEK: @\n`],
  [
    'a List',
    `kind: List\nitems:\n- kind: Secret\n  metadata: { name: app-kek }\n  data:\n    KEK: @\n- kind: Secret\n  metadata: { name: b }\n`,
  ],
  ['stringData', `${head}stringData:\n  KEK: §\n  PLAIN: "x: y" # text\n`],
  ['a comment in another language', `# Schlüssel für Müller, 鍵\n${head}data:\n  KEK: @\n`],
]

const filled = (form: string, value: Buffer): Buffer =>
  Buffer.from(form.replace('@', b64(value)).replace('§', value.toString()))

/** What Kubernetes makes of it: the values of the Secret after decoding. */
function valuesOf(bytes: Buffer): Record<string, string> {
  const documents = parseAllDocuments(bytes.toString('utf8')).map((document) => document.toJS() as object)
  const all = documents.flatMap((document) => (document as { items?: object[] }).items ?? [document])
  const found = all.find((one) => (one as { metadata?: { name?: string } }).metadata?.name === 'app-kek')
  const { data, stringData } = found as Record<
    'data' | 'stringData',
    Record<string, string> | null | undefined
  >
  const decoded = Object.entries(data ?? {}).map(([name, text]) => [
    name,
    Buffer.from(text, 'base64').toString(),
  ])
  return { ...(Object.fromEntries(decoded) as Record<string, string>), ...stringData }
}

describe.each(forms)('a Secret with %s', (_, form) => {
  const manifest = filled(form, key)

  test('is read', () => expect(readEntry(manifest, wanted, 'KEK')).toEqual(key))

  test('gets another value, and every other byte stays', () => {
    const next = withEntry(manifest, wanted, 'KEK', other)
    expect(valuesOf(next)).toEqual({ ...valuesOf(manifest), KEK: other.toString() })
    const bare = (bytes: Buffer, value: Buffer): string =>
      bytes
        .toString('utf8')
        .replace(b64(value), '@')
        .replace(value.toString(), '§')
        .replace(/[>|]-?\s+@/, '@')
    expect(bare(next, other).replace('"§"', '§')).toBe(bare(manifest, key))
  })

  test('gets a second value and loses it again, to the byte', () => {
    const both = withEntry(manifest, wanted, 'KEK_OLD', other)
    expect(valuesOf(both)).toEqual({ ...valuesOf(manifest), KEK_OLD: other.toString() })
    const back = withEntry(both, wanted, 'KEK_OLD', undefined)
    expect(valuesOf(back)).toEqual(valuesOf(manifest))
    if (!form.includes('stringData')) {
      // A last line gets the break that it lacked; the rest is as it was.
      expect(back.toString().trimEnd()).toBe(manifest.toString().trimEnd())
    }
  })

  test('loses the value and gets it again', () => {
    const without = withEntry(manifest, wanted, 'KEK', undefined)
    expect(readEntry(without, wanted, 'KEK')).toBeUndefined()
    const { KEK: _taken, ...rest } = valuesOf(manifest)
    expect(valuesOf(without)).toEqual(rest)
    expect(valuesOf(withEntry(without, wanted, 'KEK', key))).toEqual(valuesOf(manifest))
  })
})

test.each([
  ['no data', head],
  ['data without a value', `${head}data:\ntype: Opaque\n`],
  ['an empty map', `${head}data: {}\n`],
  ['null', `${head}data: null # none yet\n`],
  ['JSON without data', '{"kind":"Secret","metadata":{"name":"app-kek"}}'],
  ['an empty value', `${head}data:\n  KEK:\n  A: YQ==\n`],
  ['an empty text', `${head}data:\n  KEK: "" # to come\n`],
])('a Secret with %s takes a first key', (_, text) => {
  const next = withEntry(Buffer.from(text), wanted, 'KEK', key)
  expect(valuesOf(next)['KEK']).toBe(key.toString())
  for (const comment of text.match(/# .*/g) ?? []) expect(next.toString()).toContain(comment)
})

test.each([
  ['no such Secret', 'kind: Secret\nmetadata: { name: b }\n', 'no Secret named app-kek'],
  ['two of that name', `${head}---\n${head}`, 'two Secrets named app-kek'],
  ['a key twice', `${head}data:\n  KEK: YQ==\n  KEK: Yg==\n`, 'says KEK twice'],
  ['a key in both maps', `${head}data: { KEK: YQ== }\nstringData: { KEK: a }\n`, 'under `data:` and'],
  ['an anchor', `${head}data:\n  KEK: &a YQ==\n`, 'as a simple text'],
  ['what is no base64', `${head}data:\n  KEK: "%%%"\n`, 'something else than base64'],
  ['escapes', `${head}stringData:\n  KEK: "a\\u0062"\n`, 'with escapes'],
  ['SOPS', `${head}data: { KEK: YQ== }\nsops: { version: 3 }\n`, 'encrypted by SOPS'],
  ['broken YAML', `${head}data: [\n`, 'not valid YAML in line 6'],
  ['a byte order mark', `\ufeff${head}`, 'byte order mark'],
])('refuses a manifest with %s, and says what is wrong', (_, text, message) => {
  expect(
    () =>
      withEntry(Buffer.from(text), wanted, 'KEK', key)?.length && readEntry(Buffer.from(text), wanted, 'KEK'),
  ).toThrow(message)
})

test('tells two Secrets of one name by their namespace', () => {
  const one = (namespace: string, value: Buffer): string =>
    `kind: Secret\nmetadata: { name: app-kek, namespace: ${namespace} }\ndata: { KEK: ${b64(value)} }\n`
  const manifest = Buffer.from(`${one('test', key)}---\n${one('production', other)}`)
  expect(readEntry(manifest, { ...wanted, namespace: 'production' }, 'KEK')).toEqual(other)
})
