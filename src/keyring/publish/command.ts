import { type CommandPlace, labelOf } from '../../config/publishers.ts'
import { KvxError } from '../../core/errors.ts'
import { fingerprintOf } from '../../core/fingerprint.ts'
import { decodeKey, encodeKey } from '../../core/key-encoding.ts'
import type { Secret } from '../../core/secret.ts'
import { runChild } from '../../platform/child.ts'
import { chosenVariables } from '../../platform/environment.ts'
import { requireTool } from '../../platform/tools.ts'
import type { KeyRecord } from '../keyring-file.ts'
import { keyLengths } from '../key-lengths.ts'
import { inspectSlots, type Publisher, type SlotName, slotOrder } from './publisher.ts'

const programMs = 120_000
const maxKeyBytes = 65_536

/**
 * A place that programs know: they get the key on standard input, in the declared encoding and without a line
 * break, or nothing at all when the slot is empty from now on. What they say is never looked at or shown.
 *
 * With `read` the place is asked what it holds. Without it the keyring remembers what was handed over last.
 */
export function commandPublisher(place: CommandPlace, key: Pick<KeyRecord, 'handed'> | undefined): Publisher {
  const label = labelOf(place)
  const programs = { current: place.current, previous: place.previous }
  const isRead = place.reads.current !== undefined
  const handed = key?.handed?.[label]

  async function readSlot(slot: SlotName): Promise<Secret | undefined> {
    const program = place.reads[slot]
    if (program === undefined) return undefined
    const bytes = await printedKey(program, { env: chosenVariables(place.env) })
    try {
      return bytes.length === 0
        ? undefined
        : decodeKey(bytes, place.encoding, keyLengths(place.encoding)).material
    } finally {
      bytes.fill(0)
    }
  }

  const inspect = async (): ReturnType<Publisher['inspect']> =>
    isRead
      ? inspectSlots(readSlot)
      : { current: handed?.current ?? undefined, previous: handed?.previous ?? undefined }

  return {
    place: label,
    path: place.current[0] ?? '',
    hasPrevious: place.previous !== undefined,
    isHandedOver: true,
    readSlot,
    inspect,
    check: async () => {
      for (const program of [programs.current, programs.previous, place.reads.current, place.reads.previous])
        if (program !== undefined) requireTool(program[0] ?? '')
    },
    write: async (slots) => {
      const found = await inspect()
      for (const slot of slotOrder(slots)) {
        const [program, material] = [programs[slot], slots[slot]]
        const wanted = material && fingerprintOf(material)
        if (program !== undefined && found[slot] !== wanted) await handOver(place, program, material)
      }
    },
  }
}

async function handOver(
  place: CommandPlace,
  [program = '', ...args]: readonly string[],
  material: Secret | undefined,
): Promise<void> {
  const input = material === undefined ? Buffer.alloc(0) : Buffer.from(encodeKey(material, place.encoding))
  try {
    const options = { input, env: chosenVariables(place.env), timeoutMs: programMs }
    const { exitCode, stdout, stderr } = await runChild(program, args, options)
    stdout.fill(0)
    stderr.fill(0)
    if (exitCode === 0) return
    throw new KvxError(
      'TOOL_FAILED',
      `the program ${program}, which takes the key, ended with exit code ${exitCode}`,
      {
        hint: 'What it said is not shown: it had the key. Mend it, then `kvx run resume` if a run is open, else `kvx key publish` for the key.',
        details: { tool: program, exitCode },
      },
    )
  } finally {
    input.fill(0)
  }
}

/**
 * What a program prints, up to 64 KiB. The caller wipes it.
 * @param options.env its whole environment beside PATH and LC_ALL
 * @throws TOOL_FAILED for an exit code other than 0; what it said is dropped
 */
export async function printedKey(
  [program = '', ...args]: readonly string[],
  options: { readonly env: Readonly<Record<string, string>> },
): Promise<Buffer> {
  const limits = { timeoutMs: programMs, maxOutput: maxKeyBytes }
  const { exitCode, stdout, stderr } = await runChild(program, args, { ...options, ...limits })
  stderr.fill(0)
  if (exitCode === 0) return stdout
  stdout.fill(0)
  throw new KvxError(
    'TOOL_FAILED',
    `the program ${program}, which prints the key, ended with exit code ${exitCode}`,
    {
      hint: 'What it said is not shown: there could be a key in it. Run it by hand to see why. Where there is no key yet, it has to end in 0 and print nothing.',
      details: { tool: program, exitCode },
    },
  )
}
