/**
 * The names in the index of a git work tree, read without running git: a repository can name programs that git
 * would run. Format: https://git-scm.com/docs/index-format, versions 2 to 4.
 * @returns undefined for an index that holds a part of the tree alone (split, sparse), or is no index
 */
export function namesInIndex(bytes: Buffer): readonly string[] | undefined {
  // A repository with SHA-256 has longer ids, and only its configuration says so.
  return namesWith(bytes, 20) ?? namesWith(bytes, 32)
}

const types = { link: 0o12, file: 0o10, submodule: 0o16 } as const

function namesWith(bytes: Buffer, idLength: number): readonly string[] | undefined {
  if (bytes.length < 12 + idLength || bytes.toString('latin1', 0, 4) !== 'DIRC') return undefined
  const version = bytes.readUInt32BE(4)
  if (version < 2 || version > 4) return undefined
  const names: string[] = []
  let at = 12
  let last = Buffer.alloc(0)
  for (let left = bytes.readUInt32BE(8); left > 0; left--) {
    const flagsAt = at + 40 + idLength
    if (flagsAt + 4 > bytes.length) return undefined
    const type = bytes.readUInt32BE(at + 24) >> 12
    const flags = bytes.readUInt16BE(flagsAt)
    const nameAt = flagsAt + ((flags & 0x4000) === 0 ? 2 : 4)
    const found = version === 4 ? nameAfter(bytes, nameAt, last) : nameAt
    const start = typeof found === 'number' ? found : found?.rest
    const end = start === undefined ? -1 : bytes.indexOf(0, start)
    if (start === undefined || end === -1) return undefined
    const kept = typeof found === 'object' ? found.kept : Buffer.alloc(0)
    const name = Buffer.concat([kept, bytes.subarray(start, end)])
    if (name.length !== (flags & 0xfff) && name.length < 0xfff) return undefined
    if (type === types.file || type === types.link) names.push(name.toString('utf8'))
    else if (type !== types.submodule) return undefined
    last = name
    at = version === 4 ? end + 1 : at + ((end - at + 8) & ~7)
  }
  return isWhole(bytes, at, idLength) ? names : undefined
}

type Shortened = { readonly kept: Buffer; readonly rest: number }

/** Version 4 says how many bytes of the name before are dropped, and then what follows. */
function nameAfter(bytes: Buffer, start: number, last: Buffer): Shortened | undefined {
  let at = start
  let dropped = 0
  for (let byte = 0x80; (byte & 0x80) !== 0; at++) {
    byte = bytes[at] ?? 0
    dropped = at === start ? byte & 0x7f : (dropped + 1) * 128 + (byte & 0x7f)
    if (dropped > 65_536) return undefined
  }
  return dropped > last.length ? undefined : { kept: last.subarray(0, last.length - dropped), rest: at }
}

/** Extensions follow, and the hash ends the file. One of them, `link`, says that entries lie in another file. */
function isWhole(bytes: Buffer, start: number, idLength: number): boolean {
  const end = bytes.length - idLength
  let at = start
  while (at + 8 <= end) {
    if (bytes.toString('latin1', at, at + 4) === 'link') return false
    at += 8 + bytes.readUInt32BE(at + 4)
  }
  return at === end
}
