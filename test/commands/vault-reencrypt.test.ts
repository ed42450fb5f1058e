import { spawn } from 'node:child_process'
import { existsSync, linkSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { needsRoot, needsTool } from '../support/needs.ts'
import { mount, run } from '../support/trusted-directory.ts'
import { openReferenceVault } from '../vault/reference-decoder.ts'
import { untested, VaultWorkspace } from './vault-workspace.ts'

const library = join(import.meta.dirname, '../../dist/lib/index.mjs')

/** A program that reads and writes the vault all the time through the library, and prints what went wrong. */
function application(workspace: VaultWorkspace, mode: 'read' | 'write') {
  const script = `
    import { createKeyProvider, createStore } from ${JSON.stringify(library)}
    const store = createStore({
      storageDir: ${JSON.stringify(workspace.file('vaults'))},
      keyProvider: createKeyProvider({ keyDir: ${JSON.stringify(workspace.file('keys'))} }),
    })
    let [rounds, stopped] = [0, false]
    process.on('SIGTERM', () => { stopped = true })
    while (!stopped) {
      try {
        if (${JSON.stringify(mode)} === 'write') await store.put('tk', { ['w' + rounds]: rounds })
        else if ((await store.get('tk', 'n')) !== 1) console.log('another value')
      } catch (error) {
        console.log(error.code + ': ' + error.message)
      }
      rounds++
    }
    console.log('rounds ' + rounds)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { cwd: '/' })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  return async (): Promise<string[]> => {
    child.kill('SIGTERM')
    await new Promise((ended) => child.on('close', ended))
    return said.trim().split('\n')
  }
}

/** Version 2 seals, the vault still lies under version 1. */
function rotated(): VaultWorkspace {
  const workspace = VaultWorkspace.make()
  workspace.ok('rotate', 'tk', '--offline', '--yes', ...untested)
  return workspace
}

describe('a rotation with a vault', () => {
  it('goes from version 1 to 2 in steps, and no reader fails at any moment', async () => {
    const workspace = VaultWorkspace.make()
    const before = workspace.look()
    const stop = application(workspace, 'read')
    expect(workspace.byVersion()).toEqual({ 'tk@1': 1 })
    workspace.ok('rotate', 'tk', '--stage', '--yes', ...untested)
    workspace.ok('rotate', 'tk', '--activate', '--rolled-out', '--yes')
    expect(workspace.look().version).toBe(1)

    const early = workspace.json('retire', 'tk@1', '--confirm', 'tk@1')
    expect(early).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })

    workspace.ok('reencrypt', 'tk', '--yes')
    const after = workspace.look()
    expect(after).toMatchObject({ version: 2, generation: before.generation + 1n })
    expect(after.content.equals(before.content)).toBe(true)
    expect(workspace.byVersion()).toEqual({ 'tk@2': 1 })
    workspace.ok('retire', 'tk@1', '--confirm', 'tk@1')
    expect(existsSync(workspace.file('keys/tk.key.previous'))).toBe(false)
    const said = await stop()
    expect(said).toHaveLength(1)
    expect(Number(/^rounds (\d+)$/.exec(said[0] ?? '')?.[1])).toBeGreaterThan(5)
  })

  it('moves the vault in the same run with --then data', () => {
    const workspace = VaultWorkspace.make()
    const { content } = workspace.look()
    workspace.ok('rotate', 'tk', '--offline', '--then', 'data', '--yes', ...untested)
    expect(workspace.look()).toMatchObject({ version: 2, generation: 2n })
    expect(workspace.look().content.equals(content)).toBe(true)
    expect(workspace.runs()).toMatchObject([{ kind: 'rotate', status: 'done' }])
  })

  it('loses no write of a program that puts all the time', async () => {
    const workspace = rotated()
    const stop = application(workspace, 'write')
    while (workspace.look().generation < 4n) await new Promise((go) => setTimeout(go, 50))
    workspace.ok('reencrypt', 'tk', '--yes')
    const said = await stop()
    const rounds = Number(/^rounds (\d+)$/.exec(said.at(-1) ?? '')?.[1])
    expect(said).toHaveLength(1)
    const { version, content } = workspace.look()
    expect(version).toBe(2)
    const members = JSON.parse(content.toString()) as Record<string, number>
    for (let round = 0; round < rounds; round++) expect(members[`w${round}`]).toBe(round)
  })
})

describe('a re-encryption', () => {
  it('has nothing to do the second time, and takes a vault by its name only where there is one', () => {
    const workspace = rotated()
    workspace.ok('reencrypt', 'tk', '--yes')
    const after = readFileSync(workspace.vault)
    const again = workspace.ok<{ pending: number }>('reencrypt', 'tk', '--yes')
    expect(again.data.pending).toBe(0)
    expect(readFileSync(workspace.vault).equals(after)).toBe(true)
    expect(workspace.json('reencrypt', 'kt', '--yes')).toMatchObject({
      exit: 2,
      error: { code: 'ENVELOPE_UNKNOWN', hint: 'Did you mean tk?' },
    })
    expect(workspace.json('rewrap', 'tk', '--yes')).toMatchObject({ exit: 2, error: { code: 'USAGE' } })
  })

  it('writes nothing with --dry-run', () => {
    const workspace = rotated()
    const before = readFileSync(workspace.vault)
    expect(workspace.ok<{ pending: number }>('reencrypt', '--dry-run').data.pending).toBe(1)
    expect(readFileSync(workspace.vault).equals(before)).toBe(true)
    expect(workspace.runs().filter(({ kind }) => kind === 'reencrypt')).toEqual([])
  })

  it('keeps the old file itself in the run’s backup, and owner, mode and ACL on the new one', (context) => {
    needsRoot(context)
    needsTool(context, 'setfacl')
    const workspace = rotated()
    run('setfacl', '-m', 'g:4242401:r', workspace.vault)
    run('chown', '4242402:4242403', workspace.vault)
    run('chmod', '0640', workspace.vault)
    const access = (): string => run('getfacl', '-cpn', workspace.vault)
    const [before, old] = [access(), statSync(workspace.vault)]
    workspace.ok('reencrypt', 'tk', '--yes')
    expect(access()).toBe(before)
    expect(statSync(workspace.vault)).toMatchObject({
      uid: 4_242_402,
      gid: 4_242_403,
      mode: old.mode,
      nlink: 1,
    })
    const [backup = ''] = workspace.backups()
    expect(statSync(backup).ino).toBe(old.ino)
    expect(workspace.look(backup)).toMatchObject({ version: 1, generation: 1n })
  })

  it('copies the old file where the home is another file system', (context) => {
    needsRoot(context)
    const workspace = rotated()
    const home = workspace.file('.kvx')
    run('mv', home, `${home}.moved`)
    run('install', '-d', '-m', '0700', home)
    mount(home, '-t', 'tmpfs', '-o', 'size=64m,mode=0700', 'tmpfs')
    run('cp', '-a', `${home}.moved/.`, home)
    const old = readFileSync(workspace.vault)
    workspace.ok('reencrypt', 'tk', '--yes')
    expect(workspace.look().version).toBe(2)
    const [backup = ''] = workspace.backups()
    expect(readFileSync(backup).equals(old)).toBe(true)
    expect(statSync(backup).mode & 0o777).toBe(0o600)
  })

  it('goes back with a rollback, and brings a deleted or re-encrypted vault back with a restore', () => {
    const workspace = rotated()
    const { content } = workspace.look()
    workspace.ok('reencrypt', 'tk', '--yes')
    const [{ id } = { id: '' }] = workspace.runs().filter(({ kind }) => kind === 'reencrypt')
    type Restored = { restored: number; inserted: number; same: number; changedSince: number }
    const restore = (...args: string[]) => workspace.json<Restored>('run', 'restore', id, '--yes', ...args)

    expect(restore('--dry-run').data).toMatchObject({ restored: 1, changedSince: 0 })
    expect(workspace.look().version).toBe(2)
    expect(restore()).toMatchObject({ exit: 0, data: { restored: 1 } })
    expect(workspace.look()).toMatchObject({ version: 1, generation: 3n })
    expect(restore()).toMatchObject({ exit: 0, data: { same: 1 } })

    rmSync(workspace.vault)
    expect(restore()).toMatchObject({ exit: 0, data: { inserted: 1 } })
    expect(workspace.look()).toMatchObject({ version: 1, generation: 4n })
    expect(workspace.look().content.equals(content)).toBe(true)

    workspace.ok('vault', 'put', 'tk', '{"later":1}')
    expect(restore()).toMatchObject({ exit: 6, error: { code: 'VALUES_REMAIN' } })
    expect(workspace.look().version).toBe(2)

    workspace.ok('run', 'rollback', id, '--yes')
    const back = workspace.look()
    expect(back.version).toBe(1)
    expect(JSON.parse(back.content.toString())).toHaveProperty('later', 1)
  })

  it('stops before anything is written at a vault that is damaged, and says so in verify', () => {
    const workspace = rotated()
    const good = readFileSync(workspace.vault)
    for (const damage of [
      (bytes: Buffer) => bytes.subarray(0, -5),
      (bytes: Buffer) => bytes.fill(0, 2_000_000, 2_000_001),
      () => Buffer.from('plaintext'),
      () => Buffer.alloc(0),
    ]) {
      writeFileSync(workspace.vault, damage(Buffer.from(good)))
      const before = readFileSync(workspace.vault)
      expect(workspace.json('verify')).toMatchObject({ exit: 3, data: { envelopes: [{ unreadable: 1 }] } })
      const stopped = workspace.json('reencrypt', 'tk', '--yes')
      expect(stopped).toMatchObject({ exit: 5, error: { code: 'UNREADABLE_RECORDS' } })
      expect(workspace.json('retire', 'tk@1', '--confirm', 'tk@1').exit).not.toBe(0)
      expect(readFileSync(workspace.vault).equals(before)).toBe(true)
      expect(workspace.backups()).toEqual([])
    }
  })

  it('refuses to move an older copy, which would make it the newest', () => {
    const workspace = VaultWorkspace.make()
    const old = readFileSync(workspace.vault)
    workspace.ok('vault', 'put', 'tk', '{"n":2}')
    workspace.ok('rotate', 'tk', '--offline', '--yes', ...untested)
    writeFileSync(workspace.vault, old)
    const stopped = workspace.json('reencrypt', 'tk', '--yes')
    expect(stopped).toMatchObject({ exit: 5, error: { code: 'DAMAGED' } })
    expect(stopped.error?.message).toContain('older copy')
    expect(readFileSync(workspace.vault).equals(old)).toBe(true)
  })

  it('minds no second name of a vault: a snapshot of hard links keeps the old file', () => {
    const workspace = rotated()
    linkSync(workspace.vault, workspace.file('snapshot.enc'))
    workspace.ok('reencrypt', 'tk', '--yes')
    expect(workspace.look().version).toBe(2)
    expect(workspace.look(workspace.file('snapshot.enc')).version).toBe(1)
  })
})

type Point = { readonly call: string; readonly count: number }

/** Runs `reencrypt` and kills it right before the given system call on the vault, its temporary file or directory. */
function killedAt(workspace: VaultWorkspace, { call, count }: Point): boolean {
  const paths = [
    'vaults',
    'vaults/tk.enc',
    'vaults/.tk.enc.kvx-new',
    'vaults/.tk.generation',
    'vaults/..tk.generation.kvx-new',
  ]
  const only = paths.flatMap((path) => ['-P', workspace.file(path)])
  const inject = ['-e', `trace=${call}`, '-e', `inject=${call}:signal=KILL:when=${count}`]
  const log = workspace.file('strace.log')
  const script = ['strace', '-f', '-qq', '-o', log, ...only, ...inject, kvxOf(), 'reencrypt', 'tk', '--yes']
  try {
    run('env', '-C', workspace.path, 'UV_THREADPOOL_SIZE=1', ...script)
    return false
  } catch (error) {
    const { signal, status } = error as { signal?: string; status?: number }
    if (signal !== 'SIGKILL' && status !== 137) throw error
    return true
  }
}

function kvxOf(): string {
  return join(import.meta.dirname, '../../bin/kvx')
}

describe('killed', () => {
  it('at every fsync, link, rename and unlink of the vault, it goes on from there with nothing lost', {
    timeout: 300_000,
  }, (context) => {
    needsTool(context, 'strace')
    const template = rotated()
    const { content } = template.look()
    let points = 0
    for (const call of ['fsync', 'link', 'rename', 'unlink']) {
      for (let count = 1; ; count++) {
        const workspace = template.copy()
        if (!killedAt(workspace, { call, count })) break
        points++
        const where = `${call} ${count}`
        // The name holds the old or the new file, complete, and readers open it.
        expect(workspace.look().content.equals(content), where).toBe(true)
        expect(workspace.run('vault', 'get', 'tk', 'n').stdout, where).toBe('1\n')
        const open = workspace.runs().filter(({ status }) => status === 'open')
        const next = open.length === 0 ? ['reencrypt', 'tk', '--yes'] : ['run', 'resume']
        workspace.ok(...next)
        expect(workspace.look(), where).toMatchObject({ version: 2 })
        expect(workspace.look().content.equals(content), where).toBe(true)
        expect(workspace.byVersion(), where).toEqual({ 'tk@2': 1 })
        expect(readdirSync(workspace.file('vaults')).sort(), where).toEqual(['.tk.generation', 'tk.enc'])
        const [backup = ''] = workspace.backups()
        expect(workspace.look(backup), where).toMatchObject({ version: 1 })
      }
    }
    expect(points).toBeGreaterThanOrEqual(7)
  })

  it('between two segments by Ctrl+C, it leaves the old vault and resumes', async () => {
    const workspace = VaultWorkspace.make('x'.repeat(120_000_000))
    workspace.ok('rotate', 'tk', '--offline', '--yes', ...untested)
    const child = spawn(kvxOf(), ['reencrypt', 'tk', '--yes'], { cwd: workspace.path })
    const temporary = workspace.file('vaults/.tk.enc.kvx-new')
    while (!existsSync(temporary)) await new Promise((go) => setTimeout(go, 10))
    child.kill('SIGINT')
    const exit = await new Promise((ended) => child.on('close', ended))
    expect([10, 130]).toContain(exit)
    expect(workspace.look().version).toBe(1)
    expect(existsSync(temporary)).toBe(false)
    workspace.ok('run', 'resume')
    expect(workspace.look().version).toBe(2)
  })
})

it('opens what it re-encrypted with the second implementation and the published key', () => {
  const workspace = rotated()
  workspace.ok('reencrypt', '--yes')
  const opened = openReferenceVault(
    readFileSync(workspace.vault),
    readFileSync(workspace.file('keys/tk.key')),
  )
  expect(JSON.parse(opened.plaintext.toString())).toHaveProperty('n', 1)
})
