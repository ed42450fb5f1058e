import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KvxError } from '../../src/core/errors.ts'
import { readCorpus } from './corpus.ts'
import { faultOf } from './judge.ts'
import { type Target, targets } from './targets.ts'

/**
 * Readers of what is not trusted get the inputs that `npm run fuzz` kept, random bytes, and good ones with some bytes
 * changed, taken out, doubled or put in. They read it or refuse it with an error of the catalogue: never another one,
 * never without an end, never with a part of a secret. What is read is written back as it was.
 */

const edit = fc.tuple(
  fc.constantFrom('set', 'cut', 'double', 'insert'),
  fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  fc.uint8Array({ minLength: 1, maxLength: 12 }),
)

function changed(good: Buffer, edits: readonly (readonly [string, number, Uint8Array])[]): Buffer {
  let bytes = Buffer.from(good)
  for (const [kind, where, some] of edits) {
    const at = Math.floor(where * (bytes.length + 1))
    const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
    const rest = kind === 'set' || kind === 'cut' ? tail.subarray(some.length) : tail
    const middle = kind === 'cut' ? Buffer.alloc(0) : kind === 'double' ? tail.subarray(0, 40) : some
    bytes = Buffer.concat([head, middle, rest])
  }
  return bytes
}

describe.each(targets)('$name', (target) => {
  const refusesInOrder = (bytes: Buffer): void => {
    const fault = faultOf(target, bytes)
    if (fault !== undefined) throw new Error(`${JSON.stringify(bytes.toString('latin1'))}: ${fault}`)
  }

  test.each(target.seeds.map((seed) => [seed.toString('latin1').slice(0, 60), seed]))(
    'reads %j',
    (_, seed) => {
      expect(() => target.read(seed)).not.toThrow()
    },
  )

  test('keeps its promises for every input that ever reached something new', () => {
    const corpus = readCorpus(target.name)
    expect(corpus.length).toBeGreaterThan(0)
    for (const input of [...target.seeds, ...corpus]) refusesInOrder(input)
  })

  test('reads or refuses in order, whatever bytes it gets', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => refusesInOrder(Buffer.from(bytes))),
      { seed: 20_260_101, numRuns: 1000 },
    )
  })

  test('reads or refuses in order with some bytes changed, taken out, doubled or put in', () => {
    const good = fc.constantFrom(...target.seeds)
    const edits = fc.array(edit, { minLength: 1, maxLength: 5 })
    fc.assert(
      fc.property(good, edits, (bytes, some) => refusesInOrder(changed(bytes, some))),
      { seed: 20_260_101, numRuns: 2000 },
    )
  })
})

test('a fault in what reads would be seen', () => {
  const planted = (read: Target['read']): Target => ({
    name: 'x',
    seeds: [],
    most: 9,
    read,
    secret: (bytes) => bytes,
  })
  const secret = Buffer.from('xyzzy-plugh-plover')
  const leaks = planted((bytes) => {
    throw new KvxError('USAGE', `this is no key: ${bytes.toString()}`)
  })
  expect(faultOf(leaks, secret)).toContain('a part of the secret is in the error')
  const breaks = planted(() => {
    throw new TypeError('planted')
  })
  expect(faultOf(breaks, secret)).toContain('planted')
  expect(
    faultOf(
      planted(() => undefined),
      secret,
    ),
  ).toBeUndefined()
})
