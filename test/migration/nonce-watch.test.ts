import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Instance } from '../../src/migration/envelope/instance.ts'
import { nonceMark, NonceWatch } from '../../src/migration/nonce-watch.ts'

const form = { cipher: { kind: 'aead' }, derive: undefined } as unknown as Instance['form']

function mark(nonce: Buffer, ct: Buffer, version = 1) {
  const parts = new Map([
    ['nonce', nonce],
    ['ct', ct],
  ])
  const found = nonceMark({ instance: { form, parts } as unknown as Instance, version })
  if (found === undefined) throw new Error('an AEAD with a nonce has a mark')
  return found
}

describe('nonces under one key', () => {
  test('every one of a hundred thousand is its own, random or counted', () => {
    const watch = new NonceWatch()
    for (let count = 0; count < 50_000; count++) {
      watch.add(mark(randomBytes(12), randomBytes(16)))
      const counter = Buffer.alloc(12)
      counter.writeUInt32BE(count, 8)
      watch.add(mark(counter, randomBytes(16)))
    }
    expect(watch.repeated).toBe(0)
  })

  test('a second use is noticed behind fifty thousand others, a copy of the value is none', () => {
    const watch = new NonceWatch()
    const [nonce, ct] = [randomBytes(24), randomBytes(48)]
    watch.add(mark(nonce, ct))
    for (let count = 0; count < 50_000; count++) watch.add(mark(randomBytes(24), randomBytes(16)))
    watch.add(mark(nonce, ct))
    expect(watch.repeated).toBe(0)
    watch.add(mark(nonce, randomBytes(48)))
    expect(watch.repeated).toBe(1)
    watch.add(mark(nonce, randomBytes(48)))
    expect(watch.repeated).toBe(2)
  })

  test('the same nonce under another version of the key, or one byte longer, is another one', () => {
    const watch = new NonceWatch()
    const nonce = Buffer.alloc(12)
    watch.add(mark(nonce, randomBytes(16), 1))
    watch.add(mark(nonce, randomBytes(16), 2))
    watch.add(mark(Buffer.alloc(13), randomBytes(16), 1))
    expect(watch.repeated).toBe(0)
  })
})
