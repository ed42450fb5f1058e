import { execFileSync } from 'node:child_process'
import { createCipheriv, randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { Installation } from './installation.ts'
import { beside, type Row, type Scale, timed } from './measure.ts'

const bytes = 1024
const declared = ['    value: { column: content, aead: aes-256-gcm, layout: "nonce:12 ct tag:16" }']

/** The whole command on small files of an application that seals each one, beside their copy on the same medium. */
export async function inFiles({ files, rounds }: Pick<Scale, 'files' | 'rounds'>): Promise<Row> {
  const names = {
    what: `\`kvx reencrypt\` of ${files.toLocaleString('en')} files of 1 KiB: plan, backup, replacement, read-back, full scan, report`,
    beside: '`cp -r` and `sync`',
    target: 3,
  }
  return await beside(names, rounds, async () => {
    const kek = randomBytes(32)
    const installation = new Installation(kek, '{ directory: docs, match: "**" }', {}, declared)
    try {
      fill(installation.file('docs'), kek, files)
      const besideMs = await timed(() => {
        execFileSync('cp', ['-r', installation.file('docs'), installation.file('copy')])
        execFileSync('sync')
      })
      rmSync(installation.file('copy'), { recursive: true })
      return { ...(await installation.move(files)), besideMs }
    } finally {
      installation.close()
    }
  })
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
