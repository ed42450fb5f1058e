import { createHash } from 'node:crypto'
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { encodeCardLines } from '../../src/core/share/share-text.ts'
import { fingerprintOf } from '../../src/core/fingerprint.ts'
import { deal, forged, textOf, vectors, vectorText } from '../core/share/fixture.ts'
import { Browser } from '../support/browser.ts'
import { root } from '../support/cli.ts'
import { needsTool } from '../support/needs.ts'

const source = join(root, 'templates/recovery/recover.html')
const html = readFileSync(source, 'utf8')

function hashOf(tag: string): string {
  const [, inside = ''] = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(html) ?? []
  return `'sha256-${createHash('sha256').update(inside).digest('base64')}'`
}

it('allows its own script and style by their digests, and nothing else', () => {
  const [, policy = ''] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html) ?? []
  expect(policy.split('; ').toSorted()).toEqual(
    [
      "default-src 'none'",
      `script-src ${hashOf('script')}`,
      `style-src ${hashOf('style')}`,
      "base-uri 'none'",
      "form-action 'none'",
    ].toSorted(),
  )
})

it('names no other file and no address', () => {
  expect(html.match(/<script/g)).toHaveLength(1)
  expect(html).not.toMatch(/https?:|\bsrc=|\bhref=|@import|url\(/)
})

// A folder with the page and nothing else.
const folder = mkdtempSync('/var/tmp/kvx-page-')
copyFileSync(source, join(folder, 'recover.html'))
let browser: Browser
let server: Server
const asked: string[] = []

describe('in a browser, without kvx, Python and network', () => {
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked.push(request.url ?? '')
      response.setHeader('Access-Control-Allow-Origin', '*').end('here')
    })
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  })
  beforeEach(async (context) => {
    needsTool(context, 'chromium')
    browser ??= await Browser.start()
    await browser.open(pathToFileURL(join(folder, 'recover.html')).href)
  })
  afterAll(async () => {
    await browser?.close()
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function enter(text: string): Promise<string> {
    await browser.evaluate(`document.getElementById('text').value = ''`)
    await browser.type('text', text)
    await browser.press('add')
    return browser.evaluate(`document.getElementById('said').dataset.code`)
  }

  it('C7 rebuilds the key of the vectors, shows it and saves its 32 bytes', async () => {
    expect(await browser.text('self')).toContain('has checked itself')
    for (const index of [5, 1]) expect(await enter(vectorText(index))).toBe('TAKEN')
    expect(await browser.text('fingerprint')).toBe('1 more of set KVXDEM needed.')
    await enter(vectorText(3))
    expect(await browser.text('fingerprint')).toBe(vectors.fingerprint)
    await browser.type('expected', vectors.fingerprint.toUpperCase().replaceAll(/(.{8})/g, '$1 '))
    expect(await browser.text('verdict')).toContain('this is the key')
    expect(await browser.text('key')).toBe('')
    await browser.press('show')
    expect(await browser.text('key')).toContain(vectors.kek)
    expect(await browser.text('key')).toContain(Buffer.from(vectors.kek, 'hex').toString('base64'))
    await browser.download(folder, () => browser.press('save'))
    expect(readFileSync(join(folder, 'key.raw')).toString('hex')).toBe(vectors.kek)
    await browser.press('forget')
    expect(await browser.text('key')).toBe('')
    expect(await browser.evaluate(`document.getElementById('show').disabled`)).toBe(true)
  })

  it('rebuilds any key, from cards, opened messages, small letters and dashes', async () => {
    const { material, shares } = await deal(4, 7)
    const [one, two, three, four] = shares.slice(2)
    if (!one || !two || !three || !four) throw new Error('there are 7 shares')
    expect(await enter(Buffer.from(encodeCardLines(one)).toString())).toBe('TAKEN')
    expect(await enter(textOf(two).replaceAll(/(.{4})/g, '$1-'))).toBe('TAKEN')
    const letter = `kvx-key-share v1\n\nshare: 3 of 7\n\n${Buffer.from(encodeCardLines(three)).toString()}\nKeep it.\n`
    expect(await enter(`${letter}${textOf(four)}\n`)).toBe('TAKEN')
    expect(await browser.text('fingerprint')).toBe(fingerprintOf(material))
    await browser.press('show')
    expect(await browser.text('key')).toContain(material.lend((bytes) => Buffer.from(bytes).toString('hex')))
    await browser.type('expected', vectors.fingerprint)
    expect(await browser.text('verdict')).toContain('differs')
    expect(await browser.text('key')).toBe('')
  })

  it('C1 refuses every invalid vector with its code, and never repeats it', async () => {
    for (const { text, code, why } of vectors.invalid) {
      expect(await enter(text), why).toBe(code)
      expect(await browser.text('said')).not.toContain(text.slice(20, 28))
    }
    expect(await browser.text('shares')).toBe('')
  })

  it('refuses a share given twice, one of another set, and one of a rehearsal', async () => {
    expect(await enter(vectorText(2))).toBe('TAKEN')
    expect(await enter(vectorText(2))).toBe('DUPLICATE')
    const other = await deal(3, 5, undefined, 'qqqqqq')
    expect(await enter(textOf(other.shares[0] ?? (undefined as never)))).toBe('SET')
    expect(await enter(`KVXTEST1${vectorText(1).slice(4)}`)).toBe('REHEARSAL')
    expect(await browser.text('shares')).toContain('Share 2 of 5, set KVXDEM')
  })

  it('notices a forged share, before and after there are enough', async () => {
    const { shares } = await deal(2, 4)
    const [one, two, three] = shares
    if (!one || !two || !three) throw new Error('there are 4 shares')
    const bad = forged(three, (point) => {
      point[5] = (point[5] ?? 0) ^ 1
    })
    for (const share of [one, bad]) await enter(textOf(share))
    expect(await browser.text('fingerprint')).toContain('One of them is forged')
    await browser.evaluate(`document.querySelectorAll('#shares button')[1].click()`)
    await enter(textOf(two))
    expect(await browser.text('verdict')).toContain('Not proven yet')
    await enter(textOf(bad))
    expect(await browser.text('fingerprint')).toContain('Share 3 does not fit')
    expect(await browser.evaluate(`document.getElementById('save').disabled`)).toBe(true)
  })

  it('takes a share by itself when its last character is typed', async () => {
    await browser.type('text', vectorText(4))
    expect(await browser.evaluate(`document.getElementById('said').dataset.code`)).toBe('TAKEN')
  })

  it('asks for nothing, and its policy lets nothing out', async () => {
    expect(browser.requests).toEqual([pathToFileURL(join(folder, 'recover.html')).href])
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const attempt = await browser.evaluate<string>(
      `fetch('${address}fetch').then(() => 'went out', () => 'held back')`,
    )
    const image = await browser.evaluate<string>(
      `new Promise((done) => { const image = new Image(); image.onload = () => done('went out'); image.onerror = () => done('held back'); image.src = '${address}image' })`,
    )
    expect([attempt, image, asked]).toEqual(['held back', 'held back', []])
  })
})
