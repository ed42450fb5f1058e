import { join } from 'node:path'
import { openSet } from '../backup/shares/confirm-share.ts'
import type { DeliverProgram } from '../backup/shares/custodians.ts'
import { shownSet } from '../backup/shares/share-set.ts'
import { type StoredShareSet, writeShareSet } from '../backup/shares/share-sets.ts'
import { readBackup } from '../backup/gpg.ts'
import { isKvxError, KvxError } from '../core/errors.ts'
import { runChild } from '../platform/child.ts'
import { isoNow } from '../platform/clock.ts'
import { chosenVariables } from '../platform/environment.ts'
import { quotedPath } from '../platform/file-errors.ts'
import { shareHomeOf, withBackupsLocked } from './hand-over.ts'
import type { Workspace } from './workspace.ts'

const programMs = 120_000

export type Delivered = {
  readonly stored: StoredShareSet
  /** Deliveries that failed. The set stays whole, and the files wait in its folder. */
  readonly failed: readonly KvxError[]
}

/**
 * Gives encrypted shares to the programs that hand them over, one after another: the bytes of the file on standard
 * input, and which share it is in KVX_SET, KVX_INDEX, KVX_CUSTODIAN and KVX_FOLDER. What a program says is not
 * looked at. Each delivery is in the signed manifest before the next one begins.
 */
export async function deliverShares(
  workspace: Workspace,
  stored: StoredShareSet,
  deliveries: readonly { readonly index: number; readonly deliver: DeliverProgram | undefined }[],
): Promise<Delivered> {
  let now = stored
  const failed: KvxError[] = []
  for (const { index, deliver } of deliveries) {
    if (deliver === undefined) continue
    try {
      await give(now, index, deliver)
    } catch (error) {
      if (!isKvxError(error)) throw error
      failed.push(error)
      continue
    }
    now = await noted(workspace, now, index, deliver)
  }
  return { stored: now, failed }
}

async function give({ set, folder }: StoredShareSet, index: number, deliver: DeliverProgram): Promise<void> {
  const share = set.shares.find((one) => one.index === index)
  if (share?.file == null) throw new TypeError('a share that is delivered has a file')
  const path = join(folder, share.file)
  const [program = '', ...args] = deliver.command
  const env = {
    ...chosenVariables(deliver.env),
    KVX_SET: shownSet(set),
    KVX_INDEX: String(index),
    KVX_CUSTODIAN: share.custodian,
    KVX_FOLDER: folder,
  }
  const input = await readBackup(path)
  const { exitCode } = await runChild(program, args, { input, env, timeoutMs: programMs, ownSession: true })
  if (exitCode === 0) return
  throw new KvxError(
    'TOOL_FAILED',
    `the program ${program} did not take share ${index} for ${share.custodian}: exit code ${exitCode}`,
    {
      hint: `The set is whole, and the encrypted share waits in ${path}. Give it to ${share.custodian} yourself, or mend the program and run it: \`${deliver.command.map(quotedPath).join(' ')} < ${quotedPath(path)}\`.`,
      details: { tool: program, exitCode, index },
    },
  )
}

async function noted(
  workspace: Workspace,
  { set, folder }: StoredShareSet,
  index: number,
  { command }: DeliverProgram,
): Promise<StoredShareSet> {
  return withBackupsLocked(workspace, async () => {
    // Read again: somebody may have confirmed a share meanwhile.
    const { set: now } = await openSet(shareHomeOf(workspace), set.set)
    const delivered = { at: isoNow(), program: (command[0] ?? '').slice(0, 200) }
    const shares = now.shares.map((one) => (one.index === index ? { ...one, delivered } : one))
    return writeShareSet(folder, { ...now, shares }, workspace.signer)
  })
}
