/**
 * Faults that are planted into a copy of kvx, each one a promise that is broken on purpose. The copy is built and
 * runs under the quick harness, which must turn red.
 */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../support/cli.ts'

type Edit = {
  readonly file: string
  /** Stands once in the file. */
  readonly from: string
  readonly to: string
}

type Mutant = {
  readonly title: string
  readonly edits: readonly Edit[]
  /** What of the harness is run; a part of the names of commands and adversaries. */
  readonly only: string
  /** One kind of fault, at every call. */
  readonly fault?: string
}

const notSynced: Edit = { file: 'src/platform/temp-file.ts', from: '      await sync(fd)\n', to: '' }

const mutants: readonly Mutant[] = [
  { title: 'a new file is not synced', edits: [notSynced], only: 'keygen home' },
  {
    title: 'a new file is synced after it has its name',
    edits: [
      notSynced,
      {
        file: 'src/platform/state-file.ts',
        from: '      renameSync(temp.path, target)\n',
        to: "      renameSync(temp.path, target)\n      const late = await (await import('node:fs/promises')).open(target)\n      await late.sync()\n      await late.close()\n",
      },
    ],
    only: 'keygen home',
  },
  {
    title: 'the directory of a new name is not synced',
    edits: [
      {
        file: 'src/platform/files.ts',
        from: "    await fsyncOpen(fd)\n  } catch (error) {\n    throw fileError(error, 'write the directory', path)",
        to: "  } catch (error) {\n    throw fileError(error, 'write the directory', path)",
      },
    ],
    only: 'keygen home',
  },
  {
    title: 'a failed sync of a directory is passed over',
    edits: [
      {
        file: 'src/platform/files.ts',
        from: "  } catch {\n    throw new KvxError(\n      'DURABILITY_UNKNOWN',",
        to: "  } catch {\n    if (directory !== '') return\n    throw new KvxError(\n      'DURABILITY_UNKNOWN',",
      },
    ],
    only: 'keygen home',
    fault: 'EIO',
  },
  {
    title: 'a short write is taken for a whole one',
    edits: [
      {
        file: 'src/platform/temp-file.ts',
        from: 'offset += written\n',
        to: 'offset += Math.max(written, bytes.length)\n',
      },
      {
        file: 'src/platform/temp-file.ts',
        from: 'if (facts.size !== written) {',
        to: 'if (facts.size > written) {',
      },
    ],
    only: 'keygen home',
  },
  {
    title: 'a new file is open to others until it is complete',
    edits: [
      {
        file: 'src/platform/temp-file.ts',
        from: 'openSync(temp, flags, 0o600)',
        to: 'openSync(temp, flags, 0o644)',
      },
      { file: 'src/platform/harden.ts', from: 'process.umask(0o077)', to: 'process.umask(0o022)' },
    ],
    only: 'keygen home',
  },
  {
    title: 'the keyring names a version before its material is on the medium',
    edits: [
      {
        file: 'src/keyring/register.ts',
        from: '  await placeMaterial(workspace, registration, fingerprint)\n  const canary',
        to: '  const canary',
      },
      {
        file: 'src/keyring/register.ts',
        from: '  return { version, fingerprint, changed: true }\n',
        to: '  await placeMaterial(workspace, registration, fingerprint)\n  return { version, fingerprint, changed: true }\n',
      },
    ],
    only: 'keygen home',
  },
  {
    title: 'the log hears of the work when it is over',
    edits: [
      {
        file: 'src/audit/with-intent.ts',
        from: "const { seq } = await audit.append({ ...intent, phase: 'intent' })",
        to: 'const { seq } = { seq: 1 }',
      },
    ],
    only: 'key import home',
  },
  {
    title: 'the journal of runs is not synced',
    edits: [
      {
        file: 'src/migration/journal.ts',
        from: 'PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA;',
        to: 'PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF;',
      },
    ],
    only: 'rotate home',
  },
  {
    title: 'a commit leaves out the directory of its journal',
    edits: [
      {
        file: 'src/stores/sqlite/database.ts',
        from: "value: 'EXTRA', confirmed: 3n",
        to: "value: 'FULL', confirmed: 2n",
      },
      { file: 'src/stores/sqlite/sqlite-store.ts', from: '      fsyncSync(descriptor)\n', to: '' },
    ],
    only: 'rewrap SQLite',
  },
  {
    title: 'a record is written without a comparison',
    edits: [
      {
        file: 'src/stores/sqlite/writes.ts',
        from: 'const whole = both(id, matchesCells(swap.expected))',
        to: 'const whole = Object.keys(swap.expected).length < 0 ? both(id, matchesCells(swap.expected)) : id',
      },
    ],
    only: 'in the middle of a batch',
  },
  {
    title: 'what was written is not read back',
    edits: [
      {
        file: 'src/stores/sqlite/writes.ts',
        from: '    if (changed.length > 0) readBack(',
        to: '    if (changed.length < 0) readBack(',
      },
    ],
    only: 'spoils',
  },
  {
    title: 'no lock is taken',
    edits: [
      {
        file: 'src/platform/lock.ts',
        from: '    await lockOpen(fd, what, options.waitMs ?? 0)\n',
        to: '    if (fd < 0) await lockOpen(fd, what, options.waitMs ?? 0)\n',
      },
    ],
    only: 'operators at once',
  },
  {
    title: 'a key is used before its backup',
    edits: [
      {
        file: 'src/migration/gates.ts',
        from: '  return withoutBackup !== null || hasProvenBackup(workspace, ring, name, version)',
        to: '  return withoutBackup === null || hasProvenBackup(workspace, ring, name, version)',
      },
    ],
    only: 'without a backup',
  },
  {
    title: 'readers lose the old key before its values have moved',
    edits: [
      {
        file: 'src/keyring/publish/publish.ts',
        from: 'previous: key.staged ?? opens(key.previous) }',
        to: 'previous: key.staged }',
      },
    ],
    only: 'rotate home',
  },
  {
    title: 'a version is retired without a look at the data',
    edits: [
      {
        file: 'src/migration/retire.ts',
        from: '      refuseRemaining(request, scan, undeclared)\n',
        to: '      if (scan.length < 0) refuseRemaining(request, scan, undeclared)\n',
      },
    ],
    only: 'put back under the old key',
  },
]

const copied = ['src', 'commands', 'bin', 'tools', 'templates', 'docs', 'test/support'].concat(
  ...['package.json', 'package-lock.json', 'tsconfig.json'],
)

/** Plants each one, and gives the table of docs/reliability.md. */
export async function tryMutants(
  say: (text: string) => void,
  only: string | undefined,
): Promise<{ readonly table: string; readonly survived: number }> {
  const lines = ['| planted fault | in | found by |', '|---|---|---|']
  let survived = 0
  const copy = mkdtempSync('/var/tmp/kvx-mutant-')
  try {
    for (const name of copied) cpSync(join(root, name), join(copy, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    for (const mutant of mutants.filter(({ title }) => only === undefined || title.includes(only))) {
      const found = await tryMutant(copy, mutant)
      if (found === undefined) survived++
      say(`${mutant.title}: ${found ?? 'SURVIVED'}`)
      const files = [...new Set(mutant.edits.map(({ file }) => `\`${file}\``))].join(', ')
      lines.push(`| ${mutant.title} | ${files} | ${found ?? '**not found**'} |`)
    }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  return { table: `${lines.join('\n')}\n`, survived }
}

/** What the harness said first, or undefined where it stayed green. */
async function tryMutant(copy: string, { title, edits, only, fault }: Mutant): Promise<string | undefined> {
  const before = edits.map(({ file }) => [join(copy, file), readFileSync(join(copy, file), 'utf8')] as const)
  for (const { file, from, to } of edits) {
    const text = readFileSync(join(copy, file), 'utf8')
    if (text.split(from).length !== 2) throw new Error(`${title}: its place is not once in ${file}`)
    writeFileSync(
      join(copy, file),
      text.replace(from, () => to),
    )
  }
  try {
    const built = spawnSync(process.execPath, ['tools/build.ts'], { cwd: copy, encoding: 'utf8' })
    if (built.status !== 0) throw new Error(`${title} does not build: ${built.stderr}`)
    return await harness(join(copy, 'bin/kvx'), only, fault)
  } finally {
    for (const [path, text] of before.reverse()) writeFileSync(path, text)
  }
}

async function harness(bin: string, only: string, fault: string | undefined): Promise<string | undefined> {
  const kind = fault === undefined ? ['--most', '24'] : ['--most', '100', '--fault', fault]
  const args = [join(import.meta.dirname, 'run.ts'), '--only', only, ...kind]
  const env = { ...process.env, KVX_TEST_BIN: bin }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  const exit = await new Promise<number | null>((done) => child.on('close', done))
  if (exit === 0) return undefined
  const [, bad = `exit ${exit}`] = /BAD (.*)/.exec(stderr) ?? []
  return bad
    .split(': ')
    .slice(0, 2)
    .join(': ')
    .replaceAll(/\/var\/tmp\/[\w-]+/g, '')
    .slice(0, 120)
}
