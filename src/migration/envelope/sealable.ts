import { KvxError } from '../../core/errors.ts'
import { hasLiteral } from './instance.ts'
import { underKey, type Envelope, type Sealed } from './envelope.ts'
import type { KeyBook } from './key-book.ts'
import { nameOfVersion, type VersionNames } from './labels.ts'

/**
 * Whether kvx could write what a run to `target` would have to write, before it writes anything.
 * @throws CONFIG_INVALID for a cipher that kvx only opens, and for a version that has no name yet; KEY_MALFORMED
 *   for a key whose length does not fit
 */
export function requireSealable(envelope: Envelope, target: number, book: KeyBook): void {
  const under = underKey(envelope)
  for (const sealed of [...envelope.wraps, ...envelope.values]) requireWritten(envelope, sealed)
  const names = [envelope.version?.names, ...under.map(({ label }) => label)]
  for (const one of names) if (one !== undefined) requireName(one, target, book)
  if (!book.versions.includes(target)) return
  for (const { forms } of under) {
    const [form] = forms
    if (!book.fits(target, form)) throw book.malformed(target, form)
  }
}

function requireWritten({ name }: Envelope, { forms: [form] }: Sealed): void {
  if (form.cipher.kind !== 'legacy') return
  throw new KvxError(
    'CONFIG_INVALID',
    `${name}: kvx opens ${form.cipher.name} to convert from it, and never writes it; nothing was changed`,
    {
      hint: 'Say what the values become: `to: { aead: aes-256-gcm, layout: "…" }`, which the application can read.',
    },
  )
}

/**
 * New DEKs take the old one away, so nothing that fails to parse may pass for plaintext.
 * @throws USAGE
 */
export function requireRenewable({ name, plaintext, values, joined }: Envelope): void {
  const layouts = [...values, ...(joined?.values ?? [])].flatMap(({ forms }) =>
    forms.flatMap(({ columns }) => columns),
  )
  if (!plaintext || layouts.every(({ layout }) => hasLiteral(layout) || layout.marks !== undefined)) return
  throw new KvxError(
    'USAGE',
    `${name}: plaintext may lie among its values, and nothing tells it from a damaged one`,
    {
      hint: 'New DEKs need a layout that begins with a literal or describes a constant member, or an envelope without `plaintext: true`. Nothing was changed.',
    },
  )
}

/** Names that are made of a key exist as soon as the key does. */
function requireName(names: VersionNames, target: number, book: KeyBook): void {
  if (names.kind === 'names') nameOfVersion(names, target, book)
}
