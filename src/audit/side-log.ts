import { KvxError } from '../core/errors.ts'
import { currentActor } from '../platform/actor.ts'
import { appendDurable } from '../platform/append-file.ts'
import { isoNow } from '../platform/clock.ts'
import { exists, readFileCapped } from '../platform/files.ts'
import type { Audit, LogState } from './audit.ts'
import { emptyHead, hashOfLine, makeLine, parseLine } from './entry.ts'
import type { Signer } from './signer.ts'

const maxSideLogBytes = 16 * 1_048_576

/**
 * A log of its own in one file, for the day on which the home's log can't be written: the same entries, chained
 * and signed, from number 1. It is adopted by the home's log later.
 */
export function openSideLog(path: string, signer: Signer): Audit {
  const head = async (): Promise<LogState> => readHead(path, signer)
  return {
    head,
    append: async (draft) => {
      const made = makeLine(await head(), { signer, at: isoNow(), actor: currentActor() }, draft)
      await appendDurable(path, Buffer.concat([made.line, Buffer.from('\n')]))
      return made.head
    },
  }
}

async function readHead(path: string, signer: Signer): Promise<LogState> {
  const { publicKeyFingerprint } = signer
  if (!(await exists(path))) return { ...emptyHead, at: undefined, publicKeyFingerprint }
  const { bytes } = await readFileCapped(path, { maxBytes: maxSideLogBytes })
  const last = bytes.toString('latin1').trimEnd().split('\n').at(-1) ?? ''
  if (last === '') return { ...emptyHead, at: undefined, publicKeyFingerprint }
  const line = Buffer.from(last, 'latin1')
  const parsed = parseLine(line)
  if (!parsed.ok) {
    throw new KvxError('AUDIT_BROKEN', `${path} is no log of kvx, or its last line is damaged`, {
      hint: 'Name another file with `--audit-to FILE`.',
    })
  }
  return { seq: parsed.entry.seq, head: hashOfLine(line), at: parsed.entry.at, publicKeyFingerprint }
}
