import { dirname, isAbsolute, join } from 'node:path'
import { type KeyAtHand, listKeysAtHand } from '../backup/public-keys.ts'
import { parseConfig } from '../config/config.ts'
import { nearest } from '../config/nearest.ts'
import { listProfiles, type Profile } from '../config/profiles.ts'
import { placeOf, type WrittenPlace } from '../config/publishers.ts'
import {
  configText,
  type DescribedKey,
  type DescribedPlace,
  type DescribedSealed,
  type DescribedStore,
  profileConfig,
} from '../config/template.ts'
import { aeadNames, isAeadName } from '../core/aead/aead.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { checkValueOf } from '../core/fingerprint.ts'
import { compileTemplate } from '../core/layout/template.ts'
import type { NewConfig } from '../keyring/initialise.ts'
import { makePublisher } from '../keyring/publish/publish.ts'
import { unreadable } from '../keyring/publish/publisher.ts'
import { compileEnvelopes } from '../migration/envelope/compile-envelope.ts'
import { exists } from '../platform/files.ts'
import { columns } from './columns.ts'
import { checkLayout, checkParts, layoutOf, layoutTable } from './common-layouts.ts'
import { askInput, askYes, type InputOptions } from './prompts.ts'

/**
 * Asks what the application is like and gives the text of its kvx.yaml, which was shown and agreed to. Nothing is
 * written; no key is asked for.
 * @param assumeYes takes the shown file without the last question
 * @throws CANCELLED for Ctrl-C, NOT_CONFIRMED for a no
 */
export async function describeApplication(at: NewConfig, assumeYes: boolean): Promise<string> {
  say(
    `A few questions about the application, for ${at.path}.`,
    'Enter takes what stands in brackets; Ctrl-C leaves everything as it was. No key is asked for.',
    '',
  )
  const profile = await askProfile()
  const text = profile === undefined ? await askText(at) : profileConfig(profile.text, at.namedHome)
  // What is shown is what works: a slip of this dialogue is found before the file is there.
  compileEnvelopes(parseConfig(at.path, Buffer.from(text), at.home))
  say('', ...text.trimEnd().split('\n'), '')
  if (assumeYes || (await askYes(`Write this to ${at.path}?`))) return text
  throw new KvxError('NOT_CONFIRMED', 'not confirmed; nothing was written', {
    hint: 'Run `kvx init` again, or take the template and edit it: `kvx init --no-input`.',
  })
}

/** A ready declaration, where the application has one. */
async function askProfile(): Promise<Profile | undefined> {
  const profiles = await listProfiles()
  if (profiles.length === 0) return undefined
  say('Applications that kvx knows:', ...profileTable(profiles), '')
  const named = await ask('Which application is it? A name of this list; empty to describe it by questions', {
    validate: (answer) =>
      answer === '' || profiles.some(({ name }) => name === answer) || noProfile(answer, profiles),
  })
  return profiles.find(({ name }) => name === named)
}

function noProfile(answer: string, profiles: readonly Profile[]): string {
  const meant = nearest(
    answer,
    profiles.map(({ name }) => name),
  )
  return `there is no profile of that name${meant === undefined ? '' : `; did you mean ${meant}?`}`
}

/** What profiles there are, a line each. */
export function profileTable(profiles: readonly Profile[]): readonly string[] {
  return columns(
    profiles.map(({ name, summary }) => [name, summary]),
    '    ',
  )
}

async function askText(at: NewConfig): Promise<string> {
  const folder = dirname(at.path)
  const key = await askKey(folder)
  const store = key.purpose === 'vault' ? undefined : await askStore(folder, key.purpose)
  const recipients = await askRecipients()
  return configText({ key: { ...key, recipients }, store }, at.namedHome)
}

function say(...lines: readonly string[]): void {
  process.stderr.write(lines.map((line) => `${line}\n`).join(''))
}

const keyLike = /^([0-9a-f]{64}|[A-Za-z0-9+/]{43}=|[A-Za-z0-9_-]{43}=?)$/i

/** One question. What looks like a key is not taken: it would end up in a file and in the terminal's memory. */
async function ask(message: string, options: InputOptions = {}): Promise<string> {
  return askInput(message, {
    ...options,
    validate: async (answer) => {
      if (keyLike.test(answer)) return 'that looks like a key, and kvx never asks for one: replace that key'
      return options.validate === undefined ? true : options.validate(answer)
    },
  })
}

function oneOf(words: readonly string[]): NonNullable<InputOptions['validate']> {
  return (answer) => words.includes(answer) || `one of ${words.join(', ')}`
}

function matching(form: RegExp, message: string): NonNullable<InputOptions['validate']> {
  return (answer) => form.test(answer) || message
}

const something = matching(/^[^\p{Cc}]+$/u, 'one line of text')
const variableForm = /^[A-Za-z_][A-Za-z0-9_]*$/

async function askKey(folder: string): Promise<Omit<DescribedKey, 'recipients'>> {
  const name = await ask('What is the key called?', {
    default: 'master',
    validate: matching(
      /^[a-z0-9][a-z0-9._-]{0,63}$/i,
      'a name has letters, digits, dot, dash and underscore, 64 at most',
    ),
  })
  const purpose = await ask(
    'What is it for? kek wraps data keys, data seals values, vault seals kvx vaults',
    {
      default: 'kek',
      validate: oneOf(['kek', 'data', 'vault']),
    },
  )
  if (purpose !== 'kek' && purpose !== 'data' && purpose !== 'vault') throw new TypeError('it was checked')
  return { name, purpose, publish: await askPlace(folder) }
}

async function askPlace(folder: string): Promise<DescribedPlace | undefined> {
  const kind = await ask('Where does the application read it? env (an env file), file (a key file), later', {
    default: 'env',
    validate: oneOf(['env', 'file', 'later']),
  })
  if (kind === 'later') return undefined
  if (kind === 'file') {
    const path = await ask('Path of the key file', { validate: something })
    const previous = await ask('Path of a second key that it can read with; empty if it cannot')
    const place = { kind: 'file', path, previous: previous === '' ? undefined : previous } as const
    return askEncoding(folder, place, ['raw', 'base64', 'base64url', 'hex', 'ascii'])
  }
  const path = await ask('Path of the env file', {
    default: (await exists(join(folder, '.env'))) ? '.env' : 'app.env',
    validate: something,
  })
  const validate = matching(variableForm, 'a variable has letters, digits and underscores')
  const current = await ask('Variable that holds the key', { default: 'APP_KEK', validate })
  const previous = await ask('Variable of a second key that it can read with; empty if it cannot', {
    validate: (answer) => answer === '' || (answer === current ? 'that is the first one' : validate(answer)),
  })
  const place = { kind: 'env-file', path, current, previous: previous === '' ? undefined : previous } as const
  return askEncoding(folder, place, ['base64', 'base64url', 'hex', 'ascii'])
}

type OpenPlace =
  | Omit<DescribedPlace & { kind: 'env-file' }, 'encoding'>
  | Omit<DescribedPlace & { kind: 'file' }, 'encoding'>

/** The encoding, compared at once with what lies there: a key is read and told by its check value alone. */
async function askEncoding(
  folder: string,
  place: OpenPlace,
  encodings: readonly string[],
): Promise<DescribedPlace> {
  const encoding = await ask(`How is the key written there? ${encodings.join(', ')}`, {
    default: encodings[0],
    validate: async (answer) => {
      if (!encodings.includes(answer)) return `one of ${encodings.join(', ')}`
      const found = await keyIn(folder, { ...place, encoding: answer })
      return found === unreadable ? `what lies in ${place.path} is no key in this encoding` : true
    },
  })
  const described = { ...place, encoding }
  const found = await keyIn(folder, described)
  say(
    found === undefined
      ? `  no key is there yet: \`kvx keygen NAME\` makes one where it is declared`
      : `  a key is there, check value ${checkValueOf(found)}`,
  )
  return described
}

/** The fingerprint of the key that lies in a place. */
async function keyIn(folder: string, place: DescribedPlace): Promise<string | undefined> {
  const path = isAbsolute(place.path) ? place.path : join(folder, place.path)
  const { encoding } = place
  const written =
    place.kind === 'file' ? { file: path, encoding } : { 'env-file': path, current: place.current, encoding }
  return (await makePublisher(placeOf(written as WrittenPlace)).inspect()).current
}

async function askStore(folder: string, purpose: 'kek' | 'data'): Promise<DescribedStore | undefined> {
  const sqlite = await ask('SQLite file with the sealed values; empty to describe them later', {
    validate: async (answer) => {
      if (answer === '') return true
      const path = isAbsolute(answer) ? answer : join(folder, answer)
      return (await exists(path)) || `there is no file ${path}`
    },
  })
  if (sqlite === '') return undefined
  const table = await ask('Table with the sealed values', { default: 'secrets', validate: something })
  const id = await ask('Column that tells records apart; several: with commas', {
    default: 'id',
    validate: something,
  })
  const version = await ask('Column with the number of the key version; empty if there is none')
  say('', 'Layouts, by name; or type your own (docs/layouts.md):', ...layoutTable(), '')
  const dek =
    purpose === 'kek' ? await askSealed('the wrapped data key (DEK)', 'wrapped_dek', 'raw') : undefined
  const value = await askSealed('the sealed value', purpose === 'kek' ? 'ciphertext' : 'value', 'base64')
  return { sqlite, table, id: names(id), version: version === '' ? undefined : version, dek, value }
}

function names(answer: string): readonly string[] {
  return answer
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

async function askSealed(what: string, column: string, layout: string): Promise<DescribedSealed> {
  const holding = await ask(`Column with ${what}; several with commas, if its parts lie apart`, {
    default: column,
    validate: (answer) => names(answer).length > 0 || 'at least one column',
  })
  const aead = await ask(`Cipher: ${aeadNames.join(', ')}`, {
    default: 'aes-256-gcm',
    validate: (answer) => isAeadName(answer) || `one of ${aeadNames.join(', ')}`,
  })
  const columns = await askLayouts(names(holding), layout)
  const aad = await ask('What is authenticated with it (AAD), e.g. "secrets|" {id}; empty for nothing', {
    validate: checkAad,
  })
  return { columns, aead, aad: aad === '' ? undefined : aad }
}

type Columns = DescribedSealed['columns']

/** A layout for each column. One column holds all parts; with several it is known after the last one. */
async function askLayouts(holding: readonly string[], layout: string): Promise<Columns> {
  const [only] = holding
  if (holding.length === 1 && only !== undefined) {
    const answer = await ask(`Layout of ${only}`, {
      default: layout,
      validate: (typed) => {
        const parts = checkLayout(typed)
        return typeof parts === 'string' ? parts : checkParts(parts)
      },
    })
    return [{ column: only, layout: layoutOf(answer) }]
  }
  for (;;) {
    const described: { column: string; layout: string }[] = []
    const parts: string[] = []
    for (const column of holding) {
      const answer = await ask(`Layout of ${column}, e.g. base64(ct)`, {
        validate: (typed) => {
          const found = checkLayout(typed)
          return typeof found === 'string' ? found : true
        },
      })
      described.push({ column, layout: layoutOf(answer) })
      parts.push(...(checkLayout(answer) as readonly string[]))
    }
    const verdict = checkParts(parts)
    if (verdict === true) return described
    say(`  together: ${verdict}`)
  }
}

function checkAad(answer: string): true | string {
  if (answer === '') return true
  try {
    compileTemplate(answer)
    return true
  } catch (error) {
    if (!isKvxError(error)) throw error
    return error.hint === undefined ? error.message : `${error.message}\n  ${error.hint}`
  }
}

async function askRecipients(): Promise<DescribedKey['recipients']> {
  const known = await listKeysAtHand()
  if (known.length > 0) {
    const rows = known.map(({ fingerprint, userId }, index) => [String(index + 1), userId, fingerprint])
    say('', 'OpenPGP keys in the keyring of gpg:', ...columns(rows, '    '), '')
  }
  const message =
    known.length > 0
      ? 'Who can open backups of the key? Numbers or fingerprints; empty for later'
      : 'Who can open backups of the key? OpenPGP fingerprints, 40 hex digits each; empty for later'
  const answer = await ask(message, {
    validate: (typed) => {
      const wrong = words(typed).find((word) => recipientOf(word, known) === undefined)
      return (
        wrong === undefined || `${JSON.stringify(wrong)} is neither a number of the list nor a fingerprint`
      )
    },
  })
  return words(answer).flatMap((word) => recipientOf(word, known) ?? [])
}

function words(answer: string): readonly string[] {
  return [...new Set(answer.split(/[\s,]+/).filter((word) => word !== ''))]
}

function recipientOf(word: string, known: readonly KeyAtHand[]): KeyAtHand | undefined {
  if (/^\d{1,3}$/.test(word)) return known[Number(word) - 1]
  const fingerprint = word.toUpperCase()
  if (!/^[0-9A-F]{40}$/.test(fingerprint)) return undefined
  return known.find((key) => key.fingerprint === fingerprint) ?? { fingerprint, userId: '' }
}
