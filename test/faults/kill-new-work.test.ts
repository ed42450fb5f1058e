import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { oneLevel, plainTwoLevels } from '../support/application.ts'
import { atEachKill, closeKilled, closing, killedSoFar } from '../support/kill-each.ts'
import { needsTool } from '../support/needs.ts'
import { runs } from '../support/rotations.ts'
import { makeWorkspace, type Workspace } from '../support/workspace.ts'

/** New DEKs and the first sealing, killed in their middle: the record is as it was or as it shall be, never between. */

const timeout = 240_000
const untested = ['--without-backup', '--reason', 'a test system']
afterAll(closeKilled)

/** What a person would do: go on where a run was begun, else the same command again. */
function finish(workspace: Workspace, command: readonly string[], at: string): void {
  const isOpen = runs(workspace).some(({ status }) => status === 'open')
  const { exit, error } = workspace.json(...(isOpen ? ['run', 'resume'] : command))
  if (exit !== 0) throw new Error(`${at}: ${exit} ${JSON.stringify(error)}`)
}

/** Every record opens through the chain, whichever DEK it has. */
function expectReadable(workspace: Workspace, at: string): void {
  const { failed } = workspace.read(workspace.publishedKey('current'))
  expect(failed, at).toBe(0)
}

test('reencrypt --new-deks: every record has its old DEK or a new one', { timeout }, (context) => {
  needsTool(context, 'strace')
  const from = closing(makeWorkspace({ shape: plainTwoLevels, rows: 12 })).begin()
  const command = ['reencrypt', '--new-deks', '--yes', '--batch', '4', ...untested]
  atEachKill({
    from,
    command,
    points: 8,
    always: expectReadable,
    mend: (workspace, at) => {
      finish(workspace, command, at)
      expect(workspace.json('verify').exit, at).toBe(0)
      const before = wraps(from)
      expect(
        wraps(workspace).filter((wrap) => before.includes(wrap)),
        at,
      ).toEqual([])
    },
  })
})

function wraps(workspace: Workspace): readonly string[] {
  return workspace.rows().map((row) => Buffer.from(row['wrapped_dek'] as Uint8Array).toString('hex'))
}

test('seal: every value is plaintext as it was or sealed', { timeout }, (context) => {
  needsTool(context, 'strace')
  const from = closing(makeWorkspace({ shape: oneLevel, rows: 6 })).begin()
  const database = new DatabaseSync(from.database)
  const added = database.prepare("INSERT INTO secrets (id, value) VALUES (?, 'plain text ' || ?)")
  for (let id = 9001; id <= 9009; id++) added.run(id, id)
  database.close()
  const command = ['seal', '--yes', '--batch', '4', ...untested]
  const value = (workspace: Workspace, id: number): string =>
    String(workspace.rows().find((row) => Number(row['id']) === id)?.['value'])
  atEachKill({
    from,
    command,
    points: 8,
    read: false,
    always: (workspace, at) => {
      for (let id = 9001; id <= 9009; id++) expect(value(workspace, id), at).toMatch(/^(plain text 90|enc:)/)
    },
    mend: (workspace, at) => {
      finish(workspace, command, at)
      for (let id = 9001; id <= 9009; id++) expect(value(workspace, id), at).toMatch(/^enc:/)
      expect(workspace.json('verify').exit, at).toBe(0)
    },
  })
  process.stdout.write(`kill points that fired: ${killedSoFar()}\n`)
})
