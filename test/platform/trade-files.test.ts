import { linkSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { canExchange } from '../../src/platform/exchange-names.ts'
import { tradeFiles } from '../../src/platform/trade-files.ts'
import { needsTool } from '../support/needs.ts'
import { run, trustedDirectory } from '../support/trusted-directory.ts'

beforeEach(async (context) => {
  needsTool(context, 'setfacl')
  if (!(await canExchange())) context.skip('needs `mv --exchange` or perl')
})

function twoFiles(): { readonly one: string; readonly other: string } {
  const directory = trustedDirectory()
  const [one, other] = [join(directory, 'current.key'), join(directory, 'previous.key')]
  writeFileSync(one, 'the first', { mode: 0o640 })
  writeFileSync(other, 'the second', { mode: 0o640 })
  return { one, other }
}

describe('two files', () => {
  test('take each other’s names, each as it was', async () => {
    const { one, other } = twoFiles()
    for (const path of [one, other]) run('setfacl', '-m', 'g:4242:r', path)
    const inodes = [statSync(one).ino, statSync(other).ino]
    expect(await tradeFiles(one, other)).toBe(true)
    expect([readFileSync(one, 'utf8'), readFileSync(other, 'utf8')]).toEqual(['the second', 'the first'])
    expect([statSync(other).ino, statSync(one).ino]).toEqual(inodes)
    expect(run('getfacl', '-cpEn', one)).toContain('group:4242:r--')
  })

  test.each([
    ['one has another mode', (one: string) => run('chmod', '600', one)],
    ['one has another list', (one: string) => run('setfacl', '-m', 'g:4242:r', one)],
    ['one belongs to somebody else', (one: string) => run('chown', '4242', one)],
    ['one has a second name', (one: string) => linkSync(one, `${one}.also`)],
    ['one is not there', (one: string) => run('rm', one)],
  ])('stay where they are when %s', async (_, change) => {
    const { one, other } = twoFiles()
    change(one)
    const inode = statSync(other).ino
    expect(await tradeFiles(one, other)).toBe(false)
    expect(readFileSync(other, 'utf8')).toBe('the second')
    expect(statSync(other).ino).toBe(inode)
  })
})
