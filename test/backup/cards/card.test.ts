import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inflateSync } from 'node:zlib'
import { afterAll, describe, expect, it } from 'vitest'
import { type CardFacts, drawCard } from '../../../src/backup/cards/card.ts'
import { deal, textOf, vectors, vectorShare, vectorText } from '../../core/share/fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'kvx-cards-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const facts: CardFacts = {
  subject: 'master@2',
  fingerprint: vectors.fingerprint,
  custodian: 'A. Noether',
  dealt: '2026-01-02T03:04:05Z',
  auditKeyFingerprint: 'a'.repeat(64),
  programSha256: 'b'.repeat(64),
}

/** The code on the front page, as a scanner reads it off a rendering of so many dots per inch. */
function scanned(pdf: Uint8Array, dpi: number): string {
  const args = ['-r', String(dpi), '-f', '1', '-l', '1', '-png', '-', join(folder, 'page')]
  execFileSync('pdftoppm', args, { input: pdf })
  const [image = ''] = readdirSync(folder).filter((name) => name.endsWith('.png'))
  const { stdout } = spawnSync('zbarimg', ['--quiet', '--raw', join(folder, image)], { encoding: 'utf8' })
  rmSync(join(folder, image))
  return stdout.trim()
}

/** Everything in a PDF, with what it holds compressed. */
function unpacked(pdf: Buffer): string {
  const text = pdf.toString('latin1')
  const streams = [...text.matchAll(/stream\n([\s\S]*?)\nendstream/g)].map((match) => {
    try {
      return inflateSync(Buffer.from(match[1] ?? '', 'latin1')).toString('latin1')
    } catch {
      return ''
    }
  })
  return text + streams.join('\n')
}

describe('a share card', () => {
  it('C42 scans back to the exact text for all cards of a set at 100 dpi', async () => {
    for (const index of [1, 2, 3, 4, 5]) {
      expect(scanned(await drawCard(vectorShare(index), facts), 100)).toBe(vectorText(index))
    }
  })

  it('C42 scans back for a set of 32 with nothing known besides the share', async () => {
    const unknown = {
      subject: undefined,
      fingerprint: undefined,
      custodian: undefined,
      dealt: undefined,
      auditKeyFingerprint: undefined,
      programSha256: undefined,
    }
    const { shares } = await deal(17, 32)
    const [share] = shares.slice(-1)
    if (share === undefined) throw new Error('there are 32')
    expect(scanned(await drawCard(share, unknown), 100)).toBe(textOf(share).toUpperCase())
  })

  it('prints the four lines, the custodian, the rules and the way back without kvx as text', async () => {
    const pdf = await drawCard(vectorShare(1), facts)
    const { stdout } = spawnSync('pdftotext', ['-layout', '-', '-'], { input: pdf, encoding: 'utf8' })
    for (const line of [
      'KEY SHARE 1 OF 5',
      'Any 3 of 5 rebuild the key',
      'KVX1 QZYQ KVXD EM2Z 35V8 T609',
      'Y3Z7 PM57 WWSG QX7P',
      'A. Noether',
      'master@2',
      'recover.py',
      'Never photograph it',
      'bag number',
    ])
      expect(stdout).toContain(line)
    expect(stdout.replaceAll(/\s/g, '')).toContain(vectors.fingerprint)
    expect(stdout.split('\f')).toHaveLength(3) // two pages
  })

  it('says nothing of what it opens or whose it is where it is not told', async () => {
    const pdf = await drawCard(vectorShare(1), { ...facts, subject: undefined, custodian: 'Ω' })
    const { stdout } = spawnSync('pdftotext', ['-', '-'], { input: pdf, encoding: 'utf8' })
    expect(stdout).not.toContain('master')
    expect(stdout).not.toMatch(/^custodian/m)
  })

  it('C44 holds no producer, no time and no host, and is the same whenever it is drawn', async () => {
    const [one, two] = [await drawCard(vectorShare(2), facts), await drawCard(vectorShare(2), facts)]
    expect(one.equals(two)).toBe(true)
    const all = unpacked(one)
    expect(all).toContain(Buffer.from('KVX1 QZYP').toString('hex'))
    expect(all).not.toMatch(/Producer|Creator|CreationDate|ModDate|PDFKit|pdfkit|xmp|D:20|\/Author|\/Title/)
    const { stdout } = spawnSync('pdfinfo', ['-'], { input: one, encoding: 'utf8' })
    expect(stdout).not.toMatch(/Producer|Creator|Date/)
  })
})
