import { z } from 'zod'
import { isKvxError } from '../core/errors.ts'
import { whileHomeLocked } from '../keyring/home-lock.ts'
import type { Home } from '../keyring/home.ts'
import { isoNow } from '../platform/clock.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import { notice } from '../platform/notices.ts'
import { writeState } from '../platform/state-file.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { type Census, byVersionRecord } from './census.ts'
import type { Session } from './session.ts'

/**
 * `verified.json`: what the last full verify of each envelope or vault found. Only monitoring reads it: no gate
 * opens by it, and a file that is missing or damaged means that nothing was verified yet.
 */
const verified = z.strictObject({
  at: z.iso.datetime(),
  key: z.string(),
  records: z.int().nonnegative(),
  /** Records by `NAME@VERSION`. */
  byVersion: z.record(z.string(), z.int().nonnegative()),
  unreadable: z.int().nonnegative(),
  plaintext: z.int().nonnegative(),
  mislabelled: z.int().nonnegative(),
})

const file = z.strictObject({
  schema: z.literal('kvx.verified/1'),
  envelopes: z.record(z.string(), verified),
})

export type Verified = z.output<typeof verified>

const maxBytes = 4 * 1_048_576

/** By the name of the envelope or vault. */
export async function readVerified(home: Home): Promise<Readonly<Record<string, Verified>>> {
  if (!(await exists(home.verified))) return {}
  const { bytes } = await readFileCapped(home.verified, { maxBytes })
  try {
    return file.parse(JSON.parse(bytes.toString('utf8'))).envelopes
  } catch {
    notice('VERIFIED_DAMAGED', `${home.verified} is damaged: the next \`kvx verify\` writes it anew`)
    return {}
  }
}

/** Remembers a full look, beside those at other envelopes. A home that cannot be written is told. */
export async function rememberVerified(session: Looked, censuses: readonly Census[]): Promise<void> {
  try {
    await keepVerified(session, censuses)
  } catch (error) {
    if (!isKvxError(error)) throw error
    notice('VERIFIED_NOT_KEPT', `the home could not remember what was counted: ${error.message}`)
  }
}

type Looked = Pick<Session, 'workspace' | 'workloads'>

async function keepVerified(
  { workspace: { home }, workloads }: Looked,
  censuses: readonly Census[],
): Promise<void> {
  const at = isoNow()
  await whileHomeLocked(home, async () => {
    await removeLeftover(home.verified) // a killed run's, where nothing changes any more
    const envelopes: Record<string, Verified> = { ...(await readVerified(home)) }
    for (const census of censuses) {
      const key = workloads.find(({ name }) => name === census.envelope)?.key ?? ''
      const { records, unreadable, plaintext, mislabelled } = census
      const byVersion = byVersionRecord(key, census)
      envelopes[census.envelope] = { at, key, records, byVersion, unreadable, plaintext, mislabelled }
    }
    const text = JSON.stringify({ schema: 'kvx.verified/1', envelopes }, null, 2)
    await writeState(home.verified, Buffer.from(`${text}\n`))
  })
}
