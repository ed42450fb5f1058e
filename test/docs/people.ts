import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openCeremony, step } from '../ceremony/site.ts'
import { scannedCard } from '../support/cards.ts'
import { keys, type Terminal } from '../support/terminal.ts'
import type { Workspace } from '../support/workspace.ts'
import { ceremonyOf, memoryOf } from './places.ts'

/** The people of the documents at a terminal: what they type where the screen asks. */

/** What they hold: shares of the newest set of a home, and the receipts in them. */
type Custodians = Readonly<
  Record<'share' | 'receipt', (site: Workspace, index: number, home?: string) => string>
>
type Place = { readonly site: Workspace; readonly sites: Custodians }
export type People = (terminal: Terminal, place: Place) => Promise<unknown>

/** A text on the screen, and what somebody types then. */
type Said = readonly [string, string | ((place: Place) => string)]

export function answers(...said: readonly Said[]): People {
  return async (terminal, place) => {
    for (const [question, reply] of said)
      await terminal.answer(question, typeof reply === 'string' ? reply : reply(place))
  }
}

/** Custodians of the newest set enter their shares. */
export function shares(...indices: readonly number[]): readonly Said[] {
  return indices.map((index) => ['You have', ({ site, sites }) => sites.share(site, index)])
}

/** Three shares that another program made of a key; nobody has its fingerprint. */
export function foreignShares(make: (place: Place) => Promise<readonly string[]>): People {
  return async (terminal, place) => {
    for (const [at, text] of (await make(place)).slice(0, 3).entries())
      await terminal.answer(`Share ${at + 1} of 3`, text)
    await terminal.answer('Enter alone if nobody has it')
  }
}

/** A custodian alone; the share ends where it is complete, without Enter. */
export const ownShare: People = async (terminal, { site, sites }) => {
  await terminal.see('it is not shown:')
  terminal.press(sites.share(site, 2))
}

/** One custodian gets a card: it lies in memory until they hold it, and they scan it back. */
export const cardInMemory: People = async (terminal, { site }) => {
  const memory = memoryOf(site)
  await terminal.answer('agree to this list', 'y')
  await terminal.answer('ready?', 'y')
  await terminal.see('hold the card?')
  const [pdf = ''] = readdirSync(memory).filter((name) => name.endsWith('.pdf'))
  const text = scannedCard(readFileSync(join(memory, pdf)), memory)
  terminal.press(`y${keys.enter}`)
  await terminal.see('type, paste or scan')
  terminal.press(text)
}

/** What a second person reads off the record of the key. */
export function fingerprintTail({ site }: Place): string {
  return site.keyring().keys['master']?.versions['1']?.fingerprint?.slice(-6) ?? ''
}

/** The ceremony that makes the first key, from the first question to the last. */
export async function holdKeyGeneration(
  terminal: Terminal,
  { site, sites }: Place,
  home = site.home,
): Promise<void> {
  await openCeremony(terminal)
  await step(terminal, 'The room')
  await step(terminal, 'The machine')
  await step(terminal, 'The key is made', ['The check value', 'as on the screen'])
  await step(terminal, 'The key is divided')
  for (const index of [1, 2, 3]) {
    await terminal.see('proves the share')
    await terminal.answer('q: stop here')
    await terminal.answer('Receipt, as', sites.receipt(site, index, home))
    await terminal.answer('Number on the bag', 'none')
    await terminal.answer('Was anything not as it stands')
  }
  await step(terminal, 'What there is')
  await step(terminal, 'The end')
  await terminal.answer('Another file to keep')
}

/** The same with a key that protects nothing; a rehearsal has a home of its own. */
export const rehearse: People = (terminal, { site, sites }) =>
  holdKeyGeneration(terminal, { site, sites }, site.file(ceremonyOf(site), 'rehearsal-1/.kvx'))

/** Somebody stops it after the first questions. */
export const stopCeremony: People = async (terminal) => {
  await openCeremony(terminal)
  await terminal.answer('q: stop here', 'q')
}
