import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { oneLevel, plainTwoLevels, severalColumns, versionColumn } from '../support/application.ts'
import { GpgHome } from '../support/gpg.ts'
import { keys, Terminal } from '../support/terminal.ts'
import { makeWorkspace, type Workspace, type WorkspaceOptions } from '../support/workspace.ts'

const rows = 12
const gpg = new GpgHome()
const alice = gpg.makeKey('Alice <alice@example.org>')
const bob = gpg.makeKey('Bob: Ops <bob@example.org>')
const signer = gpg.makeKey('Signer <sign@example.org>', { usage: 'sign', algorithm: 'ed25519' })
const open: { close(): void }[] = [{ close: () => gpg.remove() }]
afterAll(() => open.forEach((one) => one.close()))

/** An application that nobody described to kvx yet. */
function application(options: Partial<WorkspaceOptions> = {}): Workspace {
  const workspace = makeWorkspace({ shape: plainTwoLevels, rows, ...options })
  open.push(workspace)
  rmSync(workspace.file('kvx.yaml'))
  return workspace
}

function start(workspace: Workspace, ...args: readonly string[]): Terminal {
  const terminal = new Terminal(['init', ...args], { cwd: workspace.path, env: workspace.env })
  open.push(terminal)
  return terminal
}

function config(workspace: Workspace): string {
  return readFileSync(workspace.file('kvx.yaml'), 'utf8')
}

type Verified = { envelopes: { byVersion: Record<string, number>; unreadable: number }[] }

/** The configuration that was written opens every record of the application. */
function expectOpens(workspace: Workspace): void {
  workspace.ok('key', 'import', 'master')
  const [envelope] = workspace.ok<Verified>('verify').data.envelopes
  expect(envelope).toMatchObject({ byVersion: { 'master@1': rows }, unreadable: 0 })
}

async function throughThePlace(terminal: Terminal): Promise<void> {
  await terminal.answer('Which application is it?')
  await terminal.answer('What is the key called?')
  await terminal.answer('What is it for?')
  await terminal.answer('Where does the application read it?')
  await terminal.answer('Path of the env file')
  await terminal.answer('Variable that holds the key')
  await terminal.answer('Variable of a second key', 'APP_KEK_OLD')
  await terminal.answer('How is the key written there?')
}

async function throughTheStore(terminal: Terminal): Promise<void> {
  await terminal.answer('SQLite file with the sealed values', 'app.db')
  await terminal.answer('Table with the sealed values')
  await terminal.answer('Column that tells records apart')
  await terminal.answer('Column with the number of the key version')
  await terminal.answer('Column with the wrapped data key')
  await terminal.answer('Cipher')
  await terminal.answer('Layout of wrapped_dek')
  await terminal.answer('What is authenticated with it')
  await terminal.answer('Column with the sealed value')
  await terminal.answer('Cipher')
}

describe('kvx init on a terminal', () => {
  test('writes a configuration that opens the application, from answers and defaults', async () => {
    const workspace = application({ gpg })
    const before = readFileSync(workspace.published)
    const terminal = start(workspace)
    await throughThePlace(terminal)
    await throughTheStore(terminal)
    await terminal.answer('Layout of ciphertext')
    await terminal.answer('What is authenticated with it', '"secrets|" {id}')
    await terminal.answer('Who can open backups', `2 ${alice.toLowerCase()}`)
    await terminal.answer('Write this to')
    expect(await terminal.ended()).toBe(0)

    expect(terminal.screen).toContain('Alice <alice@example.org>')
    expect(terminal.screen).not.toContain('Signer')
    expect(terminal.screen).toMatch(/a key is there, check value [0-9A-F]{10}/)
    expect(terminal.screen).toContain('kvx key import master')
    expect(terminal.screen).not.toContain(workspace.firstKey.bytes.toString('base64'))
    expect(statSync(workspace.file('kvx.yaml')).mode & 0o777).toBe(0o600)
    for (const recipient of [alice, bob]) expect(config(workspace)).toContain(recipient)
    expect(config(workspace)).not.toContain(signer)
    expect(config(workspace)).toContain('# cryptoperiod')
    expect(readFileSync(workspace.published)).toEqual(before)
    expectOpens(workspace)
    workspace.ok('backup', 'create', 'master')
  })

  test('shows the place of a mistake in a layout with a caret, and asks again', async () => {
    const workspace = application()
    const terminal = start(workspace)
    await throughThePlace(terminal)
    await throughTheStore(terminal)
    await terminal.answer('Layout of ciphertext', 'base64(nonce:12 cd tag:16)')
    await terminal.see('^^')
    expect(terminal.screen).toMatch(/base64\(nonce:12 cd tag:16\)\s*\n +\^\^/)
    terminal.press(`${keys.ctrlU}base64(nonce:12 ct)${keys.enter}`)
    await terminal.see('tag must stand in it exactly once')
    terminal.press(`${keys.ctrlU}base64(nonce:12 ct tag:16)${keys.enter}`)
    await terminal.answer('What is authenticated with it', '"secrets|" {id')
    await terminal.see('^')
    terminal.press(`${keys.ctrlU}"secrets|" {id}${keys.enter}`)
    await terminal.answer('Who can open backups')
    await terminal.answer('Write this to')
    expect(await terminal.ended()).toBe(0)
    expect(config(workspace)).toContain('#   recipients: [40-hex-digit OpenPGP fingerprints]')
    expectOpens(workspace)
  })

  test('keeps as comments what was left for later, and the file is one that kvx reads', async () => {
    const workspace = application()
    const terminal = start(workspace)
    await terminal.answer('Which application is it?')
    await terminal.answer('What is the key called?', 'tokens')
    await terminal.answer('What is it for?', 'data')
    await terminal.answer('Where does the application read it?', 'later')
    await terminal.answer('SQLite file')
    await terminal.answer('Who can open backups')
    await terminal.answer('Write this to')
    expect(await terminal.ended()).toBe(0)
    expect(config(workspace)).toMatch(/tokens:\n {4}purpose: data .*\n {4}# publish:/)
    expect(config(workspace)).toContain('# app: { sqlite: /var/lib/app/app.db }')
    expect(config(workspace)).toContain('# app.secrets:')
    workspace.ok('status')
  })

  test('describes values directly under a key in a key file', async () => {
    const workspace = application({ shape: oneLevel, place: 'file' })
    const terminal = start(workspace)
    await terminal.answer('Which application is it?')
    await terminal.answer('What is the key called?')
    await terminal.answer('What is it for?', 'data')
    await terminal.answer('Where does the application read it?', 'file')
    await terminal.answer('Path of the key file', 'keys/app.key')
    await terminal.answer('Path of a second key', 'keys/app.key.previous')
    await terminal.answer('How is the key written there?', 'hex')
    await terminal.see('is no key in this encoding')
    terminal.press(`${keys.ctrlU}raw${keys.enter}`)
    await terminal.answer('SQLite file', 'no.db')
    await terminal.see('there is no file')
    terminal.press(`${keys.ctrlU}app.db${keys.enter}`)
    await terminal.answer('Table with the sealed values')
    await terminal.answer('Column that tells records apart')
    await terminal.answer('Column with the number of the key version')
    await terminal.answer('Column with the sealed value', 'value')
    await terminal.answer('Cipher')
    await terminal.answer('Layout of value', '"enc:" base64(nonce:12 ct tag:16)')
    await terminal.answer('What is authenticated with it', '"settings/" {id}')
    await terminal.answer('Who can open backups')
    await terminal.answer('Write this to')
    expect(await terminal.ended()).toBe(0)
    workspace.ok('key', 'import', 'master')
    const { byVersion } = workspace.json<Verified>('verify').data.envelopes?.[0] ?? {}
    expect(byVersion).toEqual({ 'master@1': rows })
  })

  test('describes a version column, and an AAD with it', async () => {
    const workspace = application({ shape: versionColumn })
    const terminal = start(workspace)
    await throughThePlace(terminal)
    await terminal.answer('SQLite file', 'app.db')
    await terminal.answer('Table with the sealed values')
    await terminal.answer('Column that tells records apart')
    await terminal.answer('Column with the number of the key version', 'key_version')
    await terminal.answer('Column with the wrapped data key')
    await terminal.answer('Cipher')
    await terminal.answer('Layout of wrapped_dek')
    await terminal.answer('What is authenticated with it', '"dek/" {tenant} "/v" {key_version}')
    await terminal.answer('Column with the sealed value')
    await terminal.answer('Cipher')
    await terminal.answer('Layout of ciphertext')
    await terminal.answer('What is authenticated with it', '{tenant} ":" {id}')
    await terminal.answer('Who can open backups')
    await terminal.answer('Write this to')
    expect(await terminal.ended()).toBe(0)
    expectOpens(workspace)
  })

  test('asks for the layout of each column where the parts of a value lie apart', async () => {
    const workspace = application({ shape: severalColumns })
    const terminal = start(workspace)
    await throughThePlace(terminal)
    await terminal.answer('SQLite file', 'app.db')
    await terminal.answer('Table with the sealed values')
    await terminal.answer('Column that tells records apart')
    await terminal.answer('Column with the number of the key version')
    await terminal.answer('Column with the wrapped data key', 'dek')
    await terminal.answer('Cipher')
    await terminal.answer('Layout of dek', 'base64')
    await terminal.answer('What is authenticated with it')
    await terminal.answer('Column with the sealed value', 'iv, auth_tag, body')
    await terminal.answer('Cipher')
    await terminal.answer('Layout of iv', 'hex(nonce:12)')
    await terminal.answer('Layout of auth_tag', 'ct')
    await terminal.answer('Layout of body', 'ct')
    await terminal.see('ct and tag must stand in it exactly once')
    await terminal.answer('Layout of iv', 'hex(nonce:12)')
    await terminal.answer('Layout of auth_tag', 'tag:16')
    await terminal.answer('Layout of body', 'ct')
    await terminal.answer('What is authenticated with it', '"body:" {id}')
    await terminal.answer('Who can open backups')
    await terminal.answer('Write this to')
    expect(await terminal.ended()).toBe(0)
    expectOpens(workspace)
  })

  test.each([
    ['the first question', async (terminal: Terminal) => terminal.see('Which application is it?')],
    [
      'a layout',
      async (terminal: Terminal) => {
        await throughThePlace(terminal)
        await throughTheStore(terminal)
        await terminal.see('Layout of ciphertext')
      },
    ],
    [
      'the last question',
      async (terminal: Terminal) => {
        await throughThePlace(terminal)
        await terminal.answer('SQLite file')
        await terminal.answer('Who can open backups')
        await terminal.see('Write this to')
      },
    ],
  ])('leaves nothing behind after Ctrl-C at %s', async (_, reach) => {
    const workspace = application()
    const before = workspace.treeHash()
    const terminal = start(workspace)
    await reach(terminal)
    terminal.press(keys.ctrlC)
    expect(await terminal.ended()).toBe(130)
    expect(terminal.screen).toContain('nothing was changed')
    expect(workspace.treeHash()).toBe(before)
  })

  test('writes nothing after a no, and says how to have the template', async () => {
    const workspace = application()
    const before = workspace.treeHash()
    const terminal = start(workspace)
    await throughThePlace(terminal)
    await terminal.answer('SQLite file')
    await terminal.answer('Who can open backups')
    await terminal.answer('Write this to', 'n')
    expect(await terminal.ended()).toBe(2)
    expect(terminal.screen).toContain('kvx init --no-input')
    expect(workspace.treeHash()).toBe(before)
  })

  test('does not take what looks like a key', async () => {
    const workspace = application()
    const terminal = start(workspace)
    await terminal.answer('Which application is it?')
    await terminal.answer('What is the key called?', 'ab'.repeat(32))
    await terminal.see('looks like a key')
    terminal.press(keys.ctrlC)
    expect(await terminal.ended()).toBe(130)
    expect(existsSync(workspace.file('kvx.yaml'))).toBe(false)
  })
})

describe('kvx init without a conversation', () => {
  test.each([
    ['--no-input on a terminal', ['--no-input']],
    ['a dry run on a terminal', ['--dry-run']],
  ])('asks nothing with %s', async (_, flags) => {
    const workspace = application()
    const terminal = start(workspace, ...flags)
    expect(await terminal.ended()).toBe(0)
    expect(terminal.screen).not.toContain('?')
    const written = flags.includes('--no-input')
    expect(existsSync(workspace.file('kvx.yaml'))).toBe(written)
    expect(existsSync(workspace.home)).toBe(written)
    if (written) expect(config(workspace)).toContain('# master:')
  })

  test('writes the template where there is no terminal', () => {
    const workspace = application()
    const { exit, stdout } = workspace.run('init')
    expect(exit).toBe(0)
    expect(stdout).toContain('Next: describe your application in kvx.yaml, then')
    expect(config(workspace)).toContain('# app.secrets:')
    expect(readdirSync(workspace.home)).toContain('keyring.json')
  })

  test('refuses an existing home before it asks anything', async () => {
    const workspace = application()
    workspace.ok('init')
    rmSync(workspace.file('kvx.yaml'))
    const terminal = start(workspace)
    expect(await terminal.ended()).toBe(2)
    expect(terminal.screen).toContain('there is a home at')
    expect(terminal.screen).not.toContain('Which application is it?')
  })

  test('keeps a configuration that is there, and asks nothing', async () => {
    const workspace = application()
    workspace.writeConfig()
    const before = config(workspace)
    const terminal = start(workspace)
    expect(await terminal.ended()).toBe(0)
    expect(terminal.screen).not.toContain('?')
    expect(config(workspace)).toBe(before)
  })

  test('puts a home that was named into the file', () => {
    const workspace = application()
    workspace.ok('init', '--home', workspace.file('deep/home'))
    expect(config(workspace)).toContain(`home: ${JSON.stringify(workspace.file('deep/home'))}`)
    workspace.ok('status')
  })
})
