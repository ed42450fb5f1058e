import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  packChanges,
  packRecords,
  unpackChanges,
  unpackRecords,
} from '../../../src/migration/threads/packed-cells.ts'
import { anyCell, anyCells } from './any-cell.ts'

const page = fc.nat({ max: 3 }).chain((parts) =>
  fc.array(fc.record({ id: fc.array(anyCell, { minLength: parts, maxLength: parts }), cells: anyCells }), {
    maxLength: 12,
  }),
)

test('a page comes out of its packing as another thread gets it', () => {
  fc.assert(
    fc.property(page, (records) => {
      expect(unpackRecords(structuredClone(packRecords(records)))).toEqual(records)
    }),
  )
})

test('changes come out with the names of their own record', () => {
  fc.assert(
    fc.property(fc.array(anyCells, { maxLength: 12 }), (changes) => {
      const packed = packChanges(changes)
      const handedOver = structuredClone(packed, { transfer: [packed.cells.bytes.buffer] })
      const unpacked = unpackChanges(handedOver)
      expect(unpacked).toEqual(changes)
      // In the order in which they came, since a statement is made of them.
      expect(unpacked.map((cells) => Object.keys(cells))).toEqual(changes.map((cells) => Object.keys(cells)))
    }),
  )
})
