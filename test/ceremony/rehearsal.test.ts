import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { root } from '../support/cli.ts'
import { CeremonySite, openCeremony, step } from './site.ts'

const site = new CeremonySite()
const folder = site.file('planned')
const held = join(folder, 'rehearsal-1')
afterAll(() => site.close())

function filesOf(path: string): readonly string[] {
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).toSorted()
}

describe('a rehearsal', () => {
  it('goes through the same script with a key of its own', { timeout: 60_000 }, async () => {
    const witness = `witness=E. Noether=${site.witness}`
    site.json('ceremony', 'plan', 'key-generation', 'master', '--role', witness, '--out', folder)
    const before = filesOf(site.file('.kvx'))
    const log = readFileSync(site.file('.kvx/audit/log.jsonl'))
    const terminal = site.terminal('ceremony', 'run', folder, '--rehearse')
    try {
      await openCeremony(terminal)
      await step(terminal, 'The room')
      await step(terminal, 'The machine')
      await step(terminal, 'The key is made', ['The check value', 'as on the screen'])
      await step(terminal, 'The key is divided')
      for (const index of [1, 2, 3]) {
        await terminal.see('proves the share')
        await terminal.answer('q: stop here')
        await terminal.answer('Receipt, as', site.receipt(join(held, '.kvx'), index))
        await terminal.answer('Number on the bag', 'none')
        await terminal.answer('Was anything not as it stands')
      }
      await step(terminal, 'What there is')
      await step(terminal, 'The end')
      await terminal.answer('Another file to keep')
      expect(await terminal.ended()).toBe(0)
      expect(terminal.screen).toContain('REHEARSAL  complete: ')
      expect(terminal.screen).toContain('REHEARSAL  Step 4 of 9')
    } finally {
      terminal.close()
    }
    // The place where the ceremony itself will be held knows nothing of it.
    expect(filesOf(site.file('.kvx'))).toEqual(before)
    expect(readFileSync(site.file('.kvx/audit/log.jsonl'))).toEqual(log)
    expect(filesOf(folder).filter((name) => !name.startsWith('rehearsal-1'))).toEqual([
      'plan.md',
      'plan.yaml',
    ])
  })

  it('C38 marks its record, its letters and its folder', () => {
    const text = readFileSync(join(held, 'record.md'), 'utf8')
    for (const title of text.match(/^#+ .*$/gm) ?? []) expect(title).toContain('REHEARSAL')
    expect(readFileSync(join(held, 'REHEARSAL.txt'), 'utf8')).toContain('protects\nnothing')
    expect(readFileSync(join(held, 'kvx.yaml'), 'utf8')).toContain('rehearsal: true')
    const letter = site.letter(join(held, '.kvx'), 1).toString()
    expect(letter).toContain('KVXT EST1')
    expect(letter.split('\n')[1]).toContain('REHEARSAL')
    expect(site.json('ceremony', 'verify', held)).toMatchObject({ exit: 3, data: { rehearsal: true } })
  })

  it('C38 deals shares that no restore takes, and that share verify names', () => {
    const letters = [1, 2, 3].map((index) => site.letter(join(held, '.kvx'), index))
    const set = readdirSync(join(held, '.kvx/backups/shares'))[0]?.split('.').at(-1) ?? ''
    const manifest = join(held, '.kvx/backups/shares', `master.v1.${set}`, `${set}.json`)
    const file = site.file('letters')
    writeFileSync(file, Buffer.concat(letters))
    for (const config of [site.file('kvx.yaml'), join(held, 'kvx.yaml')]) {
      const out = ['--out', site.file('out.key'), '--manifest', manifest]
      for (const more of [out, []]) {
        const args = ['restore', '--from', 'shares', '--share-fd', '0', '--yes', '--config', config, ...more]
        const restored = site.input(readFileSync(file), ...args)
        expect(restored.exit).toBe(5)
        expect(restored.stderr).toContain('share of a rehearsal (KVXTEST1): no key is in it')
      }
    }
    const verified = site.input(
      letters[0] ?? '',
      'share',
      'verify',
      '--share-fd',
      '0',
      '--manifest',
      manifest,
    )
    expect(verified.exit).toBe(3)
    expect(verified.stdout).toContain('REHEARSAL: this share is for practice')
    expect(verified.stderr).toContain('REHEARSAL: share 1 of set')
    const python = spawnSync('python3', [join(root, 'templates/recovery/recover.py')], {
      input: readFileSync(file),
    })
    expect(python.status).toBe(1)
    expect(python.stdout.length).toBe(0)
  })
})
