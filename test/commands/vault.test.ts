import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { kvx, kvxBin, kvxJson, kvxOk } from '../support/cli.ts'
import { trustedDirectory } from '../support/trusted-directory.ts'
import { openReferenceVault } from '../vault/reference-decoder.ts'
import { kvcrypt, snapshot, vaultPlace, writeKey } from '../vault/vault-tools.ts'

describe('kvcrypt', () => {
  it('puts and gets in the form of KVCrypt, with keys and vaults in two directories and no configuration', () => {
    const place = vaultPlace()
    const put = kvcrypt(['put', 'tk', '{"key":"value","n":1.50,"o":{"b":[true,null]}}', ...place.flags])
    expect(put).toMatchObject({ exit: 0, stderr: '' })
    expect(put.stdout).toBe('tk  generation 1 · 3 members put, read back and opened\n')
    expect(kvcrypt(['get', 'tk', 'key', ...place.flags])).toEqual({ exit: 0, stdout: 'value\n', stderr: '' })
    expect(kvcrypt(['get', ...place.flags, 'tk', 'n']).stdout).toBe('1.50\n')
    expect(kvcrypt(['get', 'tk', 'o', ...place.flags]).stdout).toBe('{"b":[true,null]}\n')
    const opened = openReferenceVault(readFileSync(place.file('tk')), place.key('tk'))
    expect(opened.plaintext.toString()).toBe('{"key":"value","n":1.50,"o":{"b":[true,null]}}')
  })

  it('reads the object from standard input with -, where no other user sees it', () => {
    const place = vaultPlace()
    expect(kvcrypt(['put', 'tk', '-', ...place.flags], { input: '{"token":"s3cret"}\n' }).exit).toBe(0)
    expect(kvcrypt(['get', 'tk', '-', ...place.flags]).stdout).toBe('{"token":"s3cret"}\n')
    expect(kvcrypt(['put', 'tk', '-', ...place.flags], { input: '' }).exit).toBe(2)
  })

  it('ends in 2 for a member, a vault or a command that there is not', () => {
    const place = vaultPlace(['tk', 'ma'])
    kvcrypt(['put', 'tk', '{"a":1}', ...place.flags])
    for (const args of [['get', 'tk', 'b'], ['get', 'ma', 'a'], ['get', '../tk', 'a'], ['list'], []]) {
      const result = kvcrypt(args.length > 1 ? [...args, ...place.flags] : args)
      expect(result.exit, args.join(' ')).toBe(2)
      expect(result.stderr + result.stdout).not.toMatch(/\n\s+at /)
    }
    expect(kvcrypt(['--help']).stdout).toContain('kvcrypt put VAULT')
  })

  it('refuses what is no JSON object, and a member that stands twice, and changes nothing', () => {
    const place = vaultPlace()
    kvcrypt(['put', 'tk', '{"a":1}', ...place.flags])
    const before = snapshot(place)
    for (const text of ['[1]', '{"a":1,"a":2}', '{"a":{"b":1,"b":2}}', '{"a"}', 'value', '{"a":1} x']) {
      const result = kvcrypt(['put', 'tk', text, ...place.flags])
      expect(result.exit, text).toBe(2)
      expect(result.stderr).toContain('the input is refused')
    }
    expect(snapshot(place)).toEqual(before)
  })

  it('takes an object that holds a key, and refuses a bare key in place of an object', () => {
    const place = vaultPlace()
    const hex = randomBytes(32).toString('hex')
    expect(kvcrypt(['put', 'tk', JSON.stringify({ k: hex }), ...place.flags]).exit).toBe(0)
    expect(kvcrypt(['get', 'tk', 'k', ...place.flags]).stdout).toBe(`${hex}\n`)
    const bare = kvcrypt(['put', 'tk', hex, ...place.flags])
    expect(bare.exit).toBe(2)
    expect(bare.stderr).toContain('looks like a 32-byte key in hex')
    expect(bare.stderr).not.toContain(hex)
  })
})

describe('kvx vault', () => {
  it('gives numbers out with --json exactly as they were put in', () => {
    const place = vaultPlace()
    const numbers = [
      '9007199254740993',
      '18446744073709551615',
      '1.50',
      '1e400',
      '-0',
      '1E2',
      '0.12345678901234567891',
    ]
    const text = `{"n":[${numbers.join(',')}],"o":{"id":12345678901234567890,"s":"9007199254740993"},"__proto__":1.0}`
    kvxOk(['vault', 'put', 'tk', text, ...place.flags])
    const whole = kvxOk(['vault', 'get', 'tk', '--json', ...place.flags]).stdout
    expect(whole.replaceAll(/\s/g, '')).toContain(`"value":${text}`)
    const one = kvxOk(['vault', 'get', 'tk', 'n', '--json', ...place.flags]).stdout
    expect(one.replaceAll(/\s/g, '')).toContain(`"value":[${numbers.join(',')}]`)
    expect(JSON.parse(one)).toMatchObject({ data: { member: 'n', generation: '1' } })
    kvxOk(['vault', 'put', 'tk', '{"id":9007199254740993}', ...place.flags])
    expect(kvxOk(['vault', 'get', 'tk', 'id', '--json', ...place.flags]).stdout).toContain(
      '"value": 9007199254740993',
    )
  })

  it('names generation, size and key in its list without a key at hand', () => {
    const place = vaultPlace(['tk', 'ma'])
    for (const vault of ['tk', 'ma', 'ma']) kvxOk(['vault', 'put', vault, '{"a":1}', ...place.flags])
    type List = { vaults: { name: string; generation: string; key: string | null; checkValue: string }[] }
    const list = (keyDir: string) =>
      kvxJson<List>(['vault', 'list', '--key-dir', keyDir, '--storage-dir', place.storageDir]).data.vaults
    expect(list(place.keyDir).map(({ name, generation, key }) => [name, generation, key])).toEqual([
      ['ma', '2', 'current'],
      ['tk', '1', 'current'],
    ])
    const without = list(trustedDirectory())
    expect(without.map(({ generation, key }) => [generation, key])).toEqual([
      ['2', null],
      ['1', null],
    ])
    expect(without[1]?.checkValue).toMatch(/^[0-9A-F]{10}$/)
  })

  it('ends its list in 3 and names a file that is no vault', () => {
    const place = vaultPlace()
    writeFileSync(place.file('tk'), 'plaintext')
    const listed = kvx(['vault', 'list', ...place.flags])
    expect(listed.exit).toBe(3)
    expect(listed.stdout).toContain('does not begin with KVXVAULT')
  })

  it('removes a member or a whole vault when its name is given as confirmation', () => {
    const place = vaultPlace()
    kvxOk(['vault', 'put', 'tk', '{"a":1,"b":2}', ...place.flags])
    const before = snapshot(place)
    expect(kvx(['vault', 'delete', 'tk', 'a', ...place.flags]).exit).toBe(2)
    expect(kvx(['vault', 'delete', 'tk', 'a', '--confirm', 'tk', ...place.flags]).exit).toBe(2)
    expect(kvx(['vault', 'delete', 'tk', ...place.flags]).exit).toBe(2)
    expect(kvx(['vault', 'delete', 'tk', 'none', '--confirm', 'none', ...place.flags]).exit).toBe(2)
    expect(kvx(['vault', 'delete', 'tk', '--dry-run', ...place.flags]).exit).toBe(0)
    expect(snapshot(place)).toEqual(before)
    kvxOk(['vault', 'delete', 'tk', 'a', '--confirm', 'a', ...place.flags])
    expect(kvxOk(['vault', 'get', 'tk', ...place.flags]).stdout).toBe('{"b":2}\n')
    kvxOk(['vault', 'delete', 'tk', '--confirm', 'tk', ...place.flags])
    expect(existsSync(place.file('tk'))).toBe(false)
    expect(kvx(['vault', 'delete', 'tk', '--confirm', 'tk', ...place.flags]).exit).toBe(2)
  })

  it('removes a damaged vault, so that a good copy can be imported', () => {
    const place = vaultPlace()
    writeFileSync(place.file('tk'), 'rubbish')
    expect(kvx(['vault', 'import', 'tk', '--confirm', 'tk', ...place.flags], { input: '{"a":1}' }).exit).toBe(
      5,
    )
    kvxOk(['vault', 'delete', 'tk', '--confirm', 'tk', ...place.flags])
    kvxOk(['vault', 'import', 'tk', ...place.flags], { input: '{"a":1}' })
    expect(kvxOk(['vault', 'get', 'tk', 'a', ...place.flags]).stdout).toBe('1\n')
  })

  it('writes nothing with --dry-run', () => {
    const place = vaultPlace()
    const before = snapshot(place)
    expect(kvx(['vault', 'put', 'tk', '{"a":1}', '--dry-run', ...place.flags]).exit).toBe(0)
    expect(kvx(['vault', 'put', 'tk', '[]', '--dry-run', ...place.flags]).exit).toBe(2)
    expect(kvx(['vault', 'import', 'tk', '--dry-run', ...place.flags], { input: '{}' }).exit).toBe(0)
    expect(readdirSync(place.storageDir)).toEqual([])
    expect(snapshot(place)).toEqual(before)
  })

  it('refuses an older copy with 5 and takes it with --accept-generation', () => {
    const place = vaultPlace()
    kvxOk(['vault', 'put', 'tk', '{"a":1}', ...place.flags])
    const old = readFileSync(place.file('tk'))
    kvxOk(['vault', 'put', 'tk', '{"a":2}', ...place.flags])
    writeFileSync(place.file('tk'), old)
    const refused = kvx(['vault', 'get', 'tk', 'a', ...place.flags])
    expect(refused.exit).toBe(5)
    expect(refused.stderr).toContain('--accept-generation')
    expect(kvxOk(['vault', 'get', 'tk', 'a', '--accept-generation', ...place.flags]).stdout).toBe('1\n')
    kvxOk(['vault', 'put', 'tk', '{}', '--accept-generation', ...place.flags])
    expect(kvxOk(['vault', 'get', 'tk', 'a', ...place.flags]).stdout).toBe('1\n')
  })
})

describe('export and import', () => {
  it('gives all of a vault out byte for byte, to a new file of mode 0600 or to a program', () => {
    const place = vaultPlace()
    const content = `{"big":"${'y'.repeat(3_000_000)}", "n":1e400 }\n`
    kvxOk(['vault', 'import', 'tk', ...place.flags], { input: content })
    expect(kvxOk(['vault', 'export', 'tk', ...place.flags]).stdout).toBe(content)
    const out = join(place.storageDir, 'out.json')
    kvxOk(['vault', 'export', 'tk', '--out', out, ...place.flags])
    expect(readFileSync(out, 'utf8')).toBe(content)
    expect(statSync(out).mode & 0o777).toBe(0o600)
    expect(kvx(['vault', 'export', 'tk', '--out', out, ...place.flags]).exit).toBe(2)
    kvxOk(['vault', 'import', 'tk', '--from', out, '--confirm', 'tk', ...place.flags])
    expect(kvxOk(['vault', 'export', 'tk', ...place.flags]).stdout).toBe(content)
  })

  it('gives no byte out and leaves no file of a vault whose last segment was changed', () => {
    const place = vaultPlace()
    kvxOk(['vault', 'import', 'tk', ...place.flags], { input: `{"big":"${'y'.repeat(3_000_000)}"}` })
    const bytes = readFileSync(place.file('tk'))
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
    writeFileSync(place.file('tk'), bytes)
    const before = readdirSync(place.storageDir)
    expect(kvx(['vault', 'export', 'tk', ...place.flags])).toMatchObject({ exit: 5, stdout: '' })
    expect(kvx(['vault', 'get', 'tk', 'big', ...place.flags])).toMatchObject({ exit: 5, stdout: '' })
    const out = join(place.storageDir, 'out.json')
    expect(kvx(['vault', 'export', 'tk', '--out', out, ...place.flags]).exit).toBe(5)
    expect(readdirSync(place.storageDir)).toEqual(before)
  })

  it('asks before it replaces a vault, and keeps the old one when the input is refused at its end', () => {
    const place = vaultPlace()
    kvxOk(['vault', 'put', 'tk', '{"a":1}', ...place.flags])
    const before = snapshot(place)
    expect(kvx(['vault', 'import', 'tk', ...place.flags], { input: '{}' }).exit).toBe(2)
    const bad = `{"big":"${'y'.repeat(2_000_000)}","big":1}`
    const refused = kvx(['vault', 'import', 'tk', '--confirm', 'tk', ...place.flags], { input: bad })
    expect(refused.exit).toBe(2)
    expect(refused.stderr).toContain('a member stands twice')
    expect(snapshot(place)).toEqual(before)
    expect(readdirSync(place.storageDir).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })

  it('refuses a terminal and the JSON document on the same output', () => {
    const place = vaultPlace()
    kvxOk(['vault', 'put', 'tk', '{"a":1}', ...place.flags])
    expect(kvxJson(['vault', 'export', 'tk', ...place.flags])).toMatchObject({
      exit: 2,
      error: { code: 'USAGE' },
    })
  })

  it('leaves the old vault whole when it is killed while a new one streams in', async () => {
    const place = vaultPlace()
    kvxOk(['vault', 'put', 'tk', '{"a":1}', ...place.flags])
    const child = spawn(kvxBin, ['vault', 'import', 'tk', '--confirm', 'tk', ...place.flags])
    child.stdin.on('error', () => undefined)
    child.stdin.write(`{"big":"${'y'.repeat(4_000_000)}`)
    const temporary = join(place.storageDir, '.tk.enc.kvx-new')
    while (!existsSync(temporary) || statSync(temporary).size < 1_000_000)
      await new Promise((go) => setTimeout(go, 20))
    child.kill('SIGKILL')
    await new Promise((ended) => child.on('close', ended))
    expect(kvxOk(['vault', 'get', 'tk', ...place.flags]).stdout).toBe('{"a":1}\n')
    kvxOk(['vault', 'put', 'tk', '{"b":2}', ...place.flags])
    expect(readdirSync(place.storageDir).sort()).toEqual(['.tk.generation', 'tk.enc'])
  })
})

describe('a configured vault', () => {
  function workspace(): {
    readonly run: (...args: string[]) => ReturnType<typeof kvx>
    readonly path: string
  } {
    const path = trustedDirectory()
    for (const directory of ['keys', 'vaults']) mkdirSync(join(path, directory))
    writeFileSync(
      join(path, 'kvx.yaml'),
      [
        'kvx: 1',
        'keys: { tk: { purpose: vault, publish: [{ file: keys/tk.key, previous: keys/tk.key.previous }] } }',
        'vaults: { tk: { directory: vaults, key: tk } }',
        '',
      ].join('\n'),
      { mode: 0o600 },
    )
    return { path, run: (...args) => kvx(args, { cwd: path }) }
  }

  it('is sealed under the ring’s key, logged before and after without a name or value, and remembered in the home', () => {
    const { path, run } = workspace()
    expect(run('init', '--no-input').exit).toBe(0)
    expect(run('keygen', 'tk').exit).toBe(0)
    const put = run('vault', 'put', 'tk', '{"name-of-it":"value-of-it"}')
    expect(put.exit).toBe(0)
    expect(put.stderr).toContain('tk@1 has no tested backup')
    expect(run('vault', 'get', 'tk', 'name-of-it').stdout).toBe('value-of-it\n')
    expect(run('vault', 'list').stdout).toMatch(/tk +1 +\d+ +tk@1/)
    const opened = openReferenceVault(
      readFileSync(join(path, 'vaults/tk.enc')),
      readFileSync(join(path, 'keys/tk.key')),
    )
    expect(opened.generation).toBe(1n)
    const log = run('audit', 'show').stdout
    expect(log).toContain('vault.put')
    expect(log).not.toMatch(/name-of-it|value-of-it/)
    expect(readFileSync(join(path, '.kvx/vaults.json'), 'utf8')).toContain('"tk": "1"')
    // The home remembers even where vault and memory beside it are put back together.
    const [vault, memory] = [join(path, 'vaults/tk.enc'), join(path, 'vaults/.tk.generation')]
    const old = [readFileSync(vault), readFileSync(memory)] as const
    expect(run('vault', 'put', 'tk', '{"x":1}').exit).toBe(0)
    writeFileSync(vault, old[0])
    writeFileSync(memory, old[1])
    expect(run('vault', 'get', 'tk').exit).toBe(5)
    expect(run('verify').exit).toBe(5)
  })

  it('is refused where the configuration points nowhere or at a key of another purpose', () => {
    const path = trustedDirectory()
    const check = (vaults: string): string => {
      const text = `kvx: 1\nkeys: { tk: { purpose: vault }, app: { purpose: kek } }\nvaults: ${vaults}\n`
      writeFileSync(join(path, 'kvx.yaml'), text, { mode: 0o600 })
      const result = kvx(['vault', 'list'], { cwd: path })
      expect(result.exit).toBe(2)
      return result.stderr
    }
    expect(check('{ tk: { directory: v, key: tc } }')).toMatch(
      /vaults\.tk\.key: there is no key "tc"; did you mean "tk"\?/,
    )
    expect(check('{ tk: { directory: v, key: app } }')).toMatch(/app has the purpose kek/)
    expect(check('{ tk: { directory: v, key: tk, directry: w } }')).toMatch(/did you mean "directory"\?/)
  })

  it('names the nearest vault for a slip of the finger', () => {
    const { run } = workspace()
    run('init', '--no-input')
    expect(run('vault', 'get', 'kt', 'a').stderr).toContain('Did you mean tk?')
  })

  it('opens nothing under a key that is not in the ring, and says which one is missing', () => {
    const { path, run } = workspace()
    run('init', '--no-input')
    run('keygen', 'tk')
    const other = vaultPlace()
    kvxOk(['vault', 'put', 'tk', '{"a":1}', ...other.flags])
    writeFileSync(join(path, 'vaults/tk.enc'), readFileSync(other.file('tk')))
    const result = run('vault', 'get', 'tk', 'a')
    expect(result.exit).toBe(5)
    expect(result.stderr).toMatch(/check value [0-9A-F]{10}/)
    writeKey(join(path, 'keys/tk.key'), other.key('tk'))
    expect(run('vault', 'get', 'tk', 'a').exit).toBe(5)
  })
})
