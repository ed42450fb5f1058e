import { join } from 'node:path'

/** Editors check the file against the schema that lies beside this kvx. */
const editorLine = `# yaml-language-server: $schema=${join(import.meta.dirname, '../../docs/schemas/kvx.yaml.json')}`

/** The line that names the home, or a comment on where it lies. */
function homeLine(home: string | undefined): string {
  return home === undefined
    ? '# home: /var/lib/kvx          # default: .kvx beside this file'
    : `home: ${JSON.stringify(home)}`
}

/** What a person said of the application. A part that is missing stays in the file as a comment. */
export type Description = {
  readonly key: DescribedKey | undefined
  readonly store: DescribedStore | undefined
}

export type DescribedKey = {
  readonly name: string
  readonly purpose: 'kek' | 'data' | 'vault'
  readonly publish: DescribedPlace | undefined
  /** OpenPGP fingerprints with whose keys they are. */
  readonly recipients: readonly { readonly fingerprint: string; readonly userId: string }[]
}

export type DescribedPlace =
  | {
      readonly kind: 'env-file'
      readonly path: string
      readonly current: string
      readonly previous: string | undefined
      readonly encoding: string
    }
  | {
      readonly kind: 'file'
      readonly path: string
      readonly previous: string | undefined
      readonly encoding: string
    }

export type DescribedStore = {
  readonly sqlite: string
  readonly table: string
  readonly id: readonly string[]
  readonly version: string | undefined
  readonly dek: DescribedSealed | undefined
  readonly value: DescribedSealed
}

export type DescribedSealed = {
  /** Layouts by column: one for most values. */
  readonly columns: readonly { readonly column: string; readonly layout: string }[]
  readonly aead: string
  readonly aad: string | undefined
}

/** The commented file that `kvx init` writes: every line that an operator edits, with the form of what goes there. */
export function configTemplate(home: string | undefined): string {
  return configText({ key: undefined, store: undefined }, home)
}

/** The file that `kvx init --profile` writes: the profile as it is, with the line for editors and the home. */
export function profileConfig(profile: string, home: string | undefined): string {
  return `${editorLine}\n${profile.replace(/^kvx: 1$/m, (line) => `${line}\n${homeLine(home)}`)}`
}

/** The same with what is known already; comments stay for what is not. */
export function configText(description: Description, home: string | undefined): string {
  const { key, store } = description
  return [
    editorLine,
    '# What kvx knows of your application. Reference: docs/configuration.md, layouts: docs/layouts.md',
    '# Known applications have a ready one: kvx init --list-profiles',
    'kvx: 1',
    homeLine(home),
    '',
    'keys:',
    ...(key === undefined ? keyComment : keyLines(key)),
    '',
    'stores:',
    `  ${store === undefined ? '# app: { sqlite: /var/lib/app/app.db }' : `app: { sqlite: ${scalar(store.sqlite)} }`}`,
    '',
    'envelopes:',
    ...(store === undefined ? envelopeComment : envelopeLines(store, key?.name ?? 'master')),
    '',
  ].join('\n')
}

const purposes = '# kek wraps DEKs, data seals values directly, vault seals kvx vaults'

const keyComment = [
  '  # master:',
  `  #   purpose: kek                     ${purposes}`,
  '  #   publish:                         # where the application reads it',
  '  #     - env-file: /etc/app/app.env',
  '  #       current: APP_KEK',
  '  #       previous: APP_KEK_OLD        # if it can read with a second key',
  '  #       encoding: base64',
  '  #   backup:',
  '  #     recipients: [40-hex-digit OpenPGP fingerprints]',
]

const envelopeComment = [
  '  # app.secrets:',
  '  #   store: app',
  '  #   table: secrets',
  '  #   id: id',
  '  #   key: master',
  '  #   dek:   { column: wrapped_dek, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }',
  `  #   value: { column: ciphertext,  aead: aes-256-gcm, layout: "base64(nonce:12 ct tag:16)", aad: '"secrets|" {id}' }`,
]

function keyLines(key: DescribedKey): readonly string[] {
  return [
    `  ${scalar(key.name)}:`,
    `    purpose: ${key.purpose}  ${purposes}`,
    ...(key.publish === undefined
      ? [
          '    # publish:                       # where the application reads it',
          '    #   - env-file: /etc/app/app.env',
          '    #     current: APP_KEK',
          '    #     previous: APP_KEK_OLD      # if it can read with a second key',
          '    #     encoding: base64',
        ]
      : ['    publish:  # where the application reads it', ...placeLines(key.publish)]),
    '    # cryptoperiod: { seal: 365d, open: 3y }',
    ...(key.recipients.length === 0
      ? ['    # backup:', '    #   recipients: [40-hex-digit OpenPGP fingerprints]']
      : [
          '    backup:',
          '      recipients:',
          ...key.recipients.map(
            ({ fingerprint, userId }) => `        - "${fingerprint}"${userId === '' ? '' : `  # ${userId}`}`,
          ),
        ]),
  ]
}

function placeLines(place: DescribedPlace): readonly string[] {
  const previous = (example: string): string =>
    place.previous === undefined
      ? `        # previous: ${example}  # if it can read with a second key`
      : `        previous: ${scalar(place.previous)}`
  const own =
    place.kind === 'env-file'
      ? [
          `      - env-file: ${scalar(place.path)}`,
          `        current: ${scalar(place.current)}`,
          previous('APP_KEK_OLD'),
        ]
      : [`      - file: ${scalar(place.path)}`, previous(`${place.path}.previous`)]
  return [
    ...own,
    `        encoding: ${place.encoding}`,
    '        # instances: 3                 # more than one reader means no rotation without staging',
    '        # cache-ttl: 5m                # how long a reader may go on with a key that it has read',
    '        # reload: [/usr/bin/systemctl, reload, app]',
  ]
}

function envelopeLines(store: DescribedStore, key: string): readonly string[] {
  return [
    `  ${envelopeName(store.table)}:`,
    '    store: app',
    `    table: ${scalar(store.table)}`,
    `    id: ${store.id.length === 1 ? scalar(store.id[0] ?? '') : `[${store.id.map(scalar).join(', ')}]`}`,
    `    key: ${scalar(key)}`,
    store.version === undefined
      ? '    # version: key_version           # a column with the number of the key version'
      : `    version: ${scalar(store.version)}`,
    ...(store.dek === undefined ? [] : [`    dek: ${sealed(store.dek)}`]),
    `    value: ${sealed(store.value)}`,
    '    # plaintext: true                # if values that were never sealed lie among them',
  ]
}

/** A name of an envelope: the store and the table, without what a name cannot hold. */
function envelopeName(table: string): string {
  const safe = table.replaceAll(/[^A-Za-z0-9._-]/g, '-').slice(0, 60)
  return `app.${safe}`
}

function sealed({ columns, aead, aad }: DescribedSealed): string {
  const [first] = columns
  const where =
    columns.length === 1 && first !== undefined
      ? `column: ${scalar(first.column)}, aead: ${aead}, layout: ${scalar(first.layout)}`
      : `aead: ${aead}, layout: { ${columns.map(({ column, layout }) => `${scalar(column)}: ${scalar(layout)}`).join(', ')} }`
  return `{ ${where}${aad === undefined ? '' : `, aad: ${scalar(aad)}`} }`
}

const plain = /^[A-Za-z_./][A-Za-z0-9_./-]*$/
const words = /^(true|false|null|yes|no|on|off|y|n)$/i

/** Text as YAML: plain where nothing can misread it, else in quotes; a double-quoted scalar reads JSON's escapes. */
function scalar(text: string): string {
  if (plain.test(text) && !words.test(text)) return text
  const single = text.includes('"') && !text.includes("'") && /^[\x20-\x7e]*$/.test(text)
  return single ? `'${text}'` : JSON.stringify(text)
}
