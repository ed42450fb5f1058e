import { KvxError } from '../core/errors.ts'

/**
 * Everything on standard input, up to a limit, in a buffer of its own.
 * @throws KvxError NO_TERMINAL when a person sits there: what is typed would stay on the screen; INPUT_EMPTY
 */
export async function readStdin(maxBytes: number): Promise<Buffer> {
  if (process.stdin.isTTY) {
    throw new KvxError(
      'NO_TERMINAL',
      'standard input is a terminal: what is typed there stays on the screen',
      {
        hint: 'Pipe the bytes in, e.g. `kvx … < FILE`.',
      },
    )
  }
  const bytes = Buffer.allocUnsafeSlow(maxBytes)
  let length = 0
  try {
    for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
      if (length + chunk.length > maxBytes) {
        throw new KvxError('KEY_MALFORMED', `standard input has more than ${maxBytes} bytes; that is no key`)
      }
      chunk.copy(bytes, length)
      chunk.fill(0)
      length += chunk.length
    }
    if (length === 0) {
      throw new KvxError('INPUT_EMPTY', 'standard input is empty or closed', {
        hint: 'Pipe the bytes in, e.g. `kvx … < FILE`.',
      })
    }
    return own(bytes, length)
  } finally {
    bytes.fill(0)
  }
}

function own(bytes: Buffer, length: number): Buffer {
  const result = Buffer.allocUnsafeSlow(length)
  bytes.copy(result, 0, 0, length)
  return result
}
