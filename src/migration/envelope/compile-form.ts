import type { Declarations } from '../../config/config.ts'
import type { FormConfig } from '../../config/envelopes.ts'
import { cipherNamed } from '../../core/cipher/registry.ts'
import type { Cipher } from '../../core/cipher/cipher.ts'
import { plaintextTest } from '../../core/cipher/plaintext-test.ts'
import { isKvxError, KvxError } from '../../core/errors.ts'
import { compileDerivation, type Derivation } from '../../core/layout/derivation.ts'
import { compileLayout, type Layout } from '../../core/layout/layout.ts'
import { compileTemplate } from '../../core/layout/template.ts'
import type { Form } from './envelope.ts'

/** A member of the configuration, with what it needs to say where something is wrong. */
export type Member = {
  readonly config: Declarations
  /** `envelopes`, the envelope's name, and the members on the way. */
  readonly at: readonly PropertyKey[]
}

export type WrittenForm = FormConfig & {
  readonly legacy?: string | undefined
  readonly 'plaintext-test'?: string | undefined
}

/** What a form takes from elsewhere. */
export type FormContext = {
  /** The column of a layout that is one text. */
  readonly column: string | undefined
  /** The columns of the layout whose `dek.` parts these are; undefined where the form has its own. */
  readonly inside: Form['columns'] | undefined
  /** What makes the key where the form does not say so itself. */
  readonly derive: Derivation | undefined
}

/** @throws LAYOUT_INVALID, CONFIG_INVALID with the place in the file */
export function compileForm(member: Member, written: WrittenForm, context: FormContext): Form {
  const cipher = compileCipher(member, written)
  const columns = context.inside ?? compileColumns(member, written, context.column)
  const form: Form = {
    columns,
    prefix: context.inside === undefined ? '' : 'dek.',
    cipher,
    aad: optional(member, 'aad', written.aad, compileTemplate),
    derive: optional(member, 'derive', written.derive, compileDerivation) ?? context.derive,
    nonce: optional(member, 'nonce', written.nonce, compileDerivation),
    test: compileTest(member, cipher, written['plaintext-test']),
    nonceLength: lengthSaid(columns, 'nonce') ?? cipher.nonceLength,
    saltLength: lengthSaid(columns, 'salt') ?? 16,
  }
  requireParts(member, form)
  if (form.aad !== undefined && !cipher.takesAad)
    throw invalid(member, 'aad', `${cipher.name} has no associated data`, 'Leave `aad` out.')
  return form
}

function compileCipher(member: Member, written: WrittenForm): Cipher {
  const { aead, legacy } = written
  const name = aead ?? legacy
  if (name === undefined || (aead !== undefined && legacy !== undefined)) {
    const hint =
      'Say `aead: aes-256-gcm` or whatever the application uses; `legacy:` is for ciphers without authentication.'
    throw invalid(member, 'aead', name === undefined ? 'no cipher is named' : 'two ciphers are named', hint)
  }
  const cipher = located(member, aead === undefined ? 'legacy' : 'aead', () =>
    cipherNamed(name, {
      mac: written.mac,
      macKey: written['mac-key'],
      cipherKey: written['cipher-key'],
      initialValue: written['initial-value'],
    }),
  )
  if ((cipher.kind === 'legacy') === (legacy !== undefined)) return cipher
  throw legacy === undefined
    ? invalid(
        member,
        'aead',
        `${cipher.name} does not authenticate, so that a wrong key gives garbage and no error`,
        'kvx opens it to convert from: say `legacy:` with a `plaintext-test`, and `to:` with what it becomes.',
      )
    : invalid(member, 'legacy', `${cipher.name} authenticates`, 'Say `aead:`.')
}

function compileTest(member: Member, cipher: Cipher, written: string | undefined): Form['test'] {
  if (written !== undefined) return located(member, 'plaintext-test', () => plaintextTest(written))
  if (cipher.kind !== 'legacy') return undefined
  throw invalid(
    member,
    'legacy',
    'a cipher without authentication needs a `plaintext-test`',
    'Say what its plaintexts are: `utf8`, `json`, `prefix "…"`. A wrong key gives garbage and no error.',
  )
}

function compileColumns(
  member: Member,
  { layout }: WrittenForm,
  column: string | undefined,
): readonly { readonly column: string; readonly layout: Layout }[] {
  const named = typeof layout === 'string' ? [[column, layout] as const] : Object.entries(layout)
  return named.map(([name, source]) => {
    if (name === undefined) {
      const hint = 'Say `column: NAME`, or give `layout` as a mapping of columns to layouts.'
      throw invalid(member, undefined, 'no column is named', hint)
    }
    return { column: name, layout: located(member, 'layout', () => compileLayout(source)) }
  })
}

function requireParts(member: Member, { columns, prefix, cipher, nonce }: Form): void {
  const parts = columns.flatMap(({ layout }) => [...layout.partNames])
  for (const needed of cipher.parts) {
    if (needed === 'nonce' && nonce !== undefined) continue
    const times = parts.filter((found) => found === prefix + needed).length
    if (times === 1) continue
    const example =
      prefix === ''
        ? 'Name where each of its parts lies, e.g. `nonce:12 ct tag:16`; a nonce that is not stored has a `nonce:` of its own.'
        : 'Give the DEK its own `layout`, or name its parts in the value’s: `dek.nonce:12 dek.ct:32 dek.tag:16`.'
    throw invalid(
      member,
      'layout',
      `the layout has ${times === 0 ? 'no' : 'more than one'} part ${prefix}${needed}, which ${cipher.name} has`,
      example,
    )
  }
}

/** How long a part is that a value gets for the first time: as the layout says. */
function lengthSaid(columns: Form['columns'], part: 'nonce' | 'salt'): number | undefined {
  for (const { layout } of columns) {
    const said = new RegExp(`(?<![\\w.])${part}:(\\d+)`).exec(layout.source)?.[1]
    if (said !== undefined) return Number(said)
  }
  return undefined
}

function optional<T>(
  member: Member,
  name: string,
  source: string | undefined,
  compile: (source: string) => T,
): T | undefined {
  return source === undefined ? undefined : located(member, name, () => compile(source))
}

/** Puts the place in the file before what the compiler of an expression says. */
export function located<T>({ config, at }: Member, name: string, compile: () => T): T {
  try {
    return compile()
  } catch (error) {
    if (!isKvxError(error)) throw error
    const options = error.hint === undefined ? {} : { hint: error.hint }
    throw new KvxError(error.code, `${config.where([...at, name])}: ${error.message}`, options)
  }
}

export function invalid(
  { config, at }: Member,
  name: string | undefined,
  message: string,
  hint: string,
): KvxError {
  const place = config.where(name === undefined ? at : [...at, name])
  return new KvxError('CONFIG_INVALID', `${place}: ${at.join('.')}: ${message}`, { hint })
}
