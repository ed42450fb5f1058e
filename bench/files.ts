import { execFileSync } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { floorInFiles } from './floor-files.ts'
import { Installation, type Rewrapped } from './installation.ts'
import { floorRows, type Row, type Scale, timed } from './measure.ts'

const bytes = 1024
const declared = ['    value: { column: content, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }']

type Round = Rewrapped & { readonly bareMs: number; readonly floorMs: number }

/**
 * The whole command on small files of an application that seals each one, beside their copy on the same medium and
 * beside the same laws by hand.
 */
export async function inFiles({ files, rounds }: Pick<Scale, 'files' | 'rounds'>): Promise<readonly Row[]> {
  const measured: Round[] = []
  for (let round = 0; round < rounds; round++) measured.push(await roundOf(files))
  const shown = files.toLocaleString('en')
  const what = `\`kvx reencrypt\` of ${shown} files of 1 KiB: plan, backup, replacement, read-back, full scan, report`
  const copy = '`cp -r` and `sync`'
  const floor = `the same laws by hand in ${shown} files of 1 KiB`
  return floorRows({ what, bare: copy, floor, target: 3 }, measured)
}

async function roundOf(files: number): Promise<Round> {
  const kek = randomBytes(32)
  const installation = new Installation(kek, '{ directory: docs, match: "**" }', {}, declared)
  try {
    const [docs, copied, kept] = ['docs', 'copy', 'floor-backup'].map((name) => installation.file(name))
    if (docs === undefined || copied === undefined || kept === undefined) throw new TypeError('three folders')
    fill(docs, kek, files)
    const bareMs = await timed(() => {
      execFileSync('cp', ['-r', docs, copied])
      execFileSync('sync')
    })
    const floorMs = await timed(async () => {
      const moved = await floorInFiles(copied, kept, { old: kek, next: randomBytes(32) })
      if (moved !== files) throw new Error('the floor did not move every file')
    })
    // What the floor made stays: without a journal, ext4 passes over inodes that were freed in the last 40 seconds.
    execFileSync('sync')
    return { ...(await installation.move(files)), bareMs, floorMs }
  } finally {
    installation.close()
  }
}

/** A thousand files a folder. */
function fill(folder: string, kek: Buffer, files: number): void {
  for (let at = 0; at < files; at++) {
    const below = `${folder}/${Math.floor(at / 1000)}`
    if (at % 1000 === 0) mkdirSync(below, { recursive: true, mode: 0o700 })
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', kek, nonce)
    const ct = Buffer.concat([cipher.update(Buffer.alloc(bytes, 'x')), cipher.final()])
    writeFileSync(`${below}/${at}.bin`, Buffer.concat([nonce, ct, cipher.getAuthTag()]), { mode: 0o600 })
  }
}
