import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { onlineInterfaces, recordingNotices } from '../../src/platform/surroundings.ts'
import { kvx } from '../support/cli.ts'
import { vectorText } from '../core/share/fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'kvx-net-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function networkInterface(name: string, type: string, carrier: string): void {
  mkdirSync(join(folder, name))
  writeFileSync(join(folder, name, 'type'), `${type}\n`)
  writeFileSync(join(folder, name, 'carrier'), `${carrier}\n`)
}

describe('what surrounds a process that handles shares', () => {
  it('C45 is a network where an interface other than the loopback has a carrier', () => {
    networkInterface('lo', '772', '1')
    networkInterface('eth0', '1', '0')
    expect(onlineInterfaces(folder)).toEqual([])
    networkInterface('wlan0', '1', '1')
    expect(onlineInterfaces(folder)).toEqual(['wlan0'])
    expect(onlineInterfaces(join(folder, 'nothing'))).toEqual([])
  })

  it('C45 stops at --require-offline on a network, before a share is read', (context) => {
    if (onlineInterfaces().length === 0) context.skip('this machine is on no network')
    const args = ['share', 'print', '--share-fd', '0', '--out', '-', '--require-offline', '--require-no-swap']
    const { exit, stdout, stderr } = kvx(args, { cwd: folder, input: vectorText(1) })
    expect({ exit, stdout }).toEqual({ exit: 6, stdout: '' })
    expect(stderr).toContain('Nothing was read')
  })

  it('C45 is named where it records or carries the terminal', () => {
    expect(recordingNotices({})).toEqual([])
    const env = { TMUX: '/tmp/x', STY: '1.a', ASCIINEMA_REC: '1', SSH_CONNECTION: 'a b' }
    const messages = recordingNotices(env).map(({ message }) => message)
    for (const word of ['tmux', 'screen', 'asciinema', 'another machine']) {
      expect(messages.some((message) => message.includes(word))).toBe(true)
    }
  })
})
