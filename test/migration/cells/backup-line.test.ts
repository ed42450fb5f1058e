import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeCells, encodeCell, encodeCells } from '../../../src/migration/cells.ts'
import { type BackupEntry, lineOf, makeEntry } from '../../../src/migration/ciphertext-backup.ts'
import type { Cells } from '../../../src/stores/store.ts'
import { anyCell, anyCells } from './any-cell.ts'

const plain = fc.record({ version: fc.nat(), sealed: fc.base64String() })

/** As runs of each kind make them, with every member that an entry may have. */
const anyEntry = fc
  .record({
    envelope: fc.string(),
    id: fc.array(anyCell, { minLength: 1, maxLength: 3 }),
    row: anyCells,
    used: anyCells,
    change: anyCells,
    more: fc.record(
      { dek: fc.string(), wrapped: anyCells, plain, joined: fc.constant(true as const) },
      { requiredKeys: [] },
    ),
  })
  .map(({ envelope, id, row, used, change, more }): BackupEntry => {
    return { ...makeEntry(envelope, id, { row, used }, change), ...more }
  })

/** The line as the JSON of one object, which is what the format says it is. */
function jsonOf({
  id,
  row,
  wroteValues,
  dek,
  wrapped,
  plain: hidden,
  joined,
  ...entry
}: BackupEntry): string {
  const members = {
    envelope: entry.envelope,
    id: id.map(encodeCell),
    row: encodeCells(row),
    changed: entry.changed,
    wrote: entry.wrote,
    ...(wroteValues === undefined ? {} : { wroteValues }),
    ...(dek === undefined ? {} : { dek }),
    ...(wrapped === undefined ? {} : { wrapped: encodeCells(wrapped) }),
    ...(hidden === undefined ? {} : { plain: hidden }),
    ...(joined === undefined ? {} : { joined }),
  }
  return `${JSON.stringify(members)}\n`
}

/** Bytes come back as buffers, everything else as it was. */
function asBuffers(cells: Cells): Cells {
  const columns = Object.entries(cells)
  return Object.fromEntries(
    columns.map(([name, cell]) => [name, cell instanceof Uint8Array ? Buffer.from(cell) : cell]),
  )
}

test('what the backup writes for a record is JSON.stringify of the encoded record, byte for byte', () => {
  fc.assert(
    fc.property(anyEntry, (entry) => {
      const line = lineOf(entry)
      expect(line).toBe(jsonOf(entry))
      expect(decodeCells(JSON.parse(line).row)).toEqual(asBuffers(entry.row))
    }),
    { numRuns: 500 },
  )
})
