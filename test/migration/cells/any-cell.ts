import * as fc from 'fast-check'
import { cellsFrom } from '../../../src/stores/cells-from.ts'
import type { Cell, Cells } from '../../../src/stores/store.ts'

const text = fc.string({
  unit: fc.constantFrom('a', '"', '\\', '\n', '\0', 'é', '€', '😀', '\ud800', '\u2028'),
})

/** Any value that a store can give. */
export const anyCell: fc.Arbitrary<Cell> = fc.oneof(
  fc.constant(null),
  text,
  fc.uint8Array({ maxLength: 80 }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.constantFrom('x'.repeat(5000), new Uint8Array(5000).fill(7)),
)

const name = fc.oneof(fc.string({ minLength: 1, maxLength: 8 }), fc.constant('__proto__'))

export const anyCells: fc.Arbitrary<Cells> = fc
  .uniqueArray(fc.tuple(name, anyCell), { selector: ([column]) => column, maxLength: 6 })
  .map((columns) =>
    cellsFrom(
      columns.map(([column]) => column),
      (index) => columns[index]?.[1] ?? null,
    ),
  )
