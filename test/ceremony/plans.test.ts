import { describe, expect, it } from 'vitest'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ceremonyKinds, makePlan, parsePlan } from '../../src/ceremony/plan.ts'
import { secretIn } from '../../src/ceremony/self-scan.ts'
import { vectors, vectorText } from '../core/share/fixture.ts'
import { commandFacts } from '../support/commands.ts'

const commands = await commandFacts()
const base = {
  key: 'master',
  id: '20270131T090000Z-k3v9x0',
  nonce: '0123456789abcdef',
  created: '2027-01-31T09:00:00Z',
  kvx: { version: '0.1.0', sha256: 'a'.repeat(64) },
  people: {},
  custodians: ['A', 'B', 'C'].map((name) => ({ name, openpgp: null })),
  outline: undefined,
}

describe.each(ceremonyKinds)('the outline %s', (kind) => {
  it('makes a plan whose commands exist, with their flags, and whose placeholders are filled', async () => {
    const plan = await makePlan({ ...base, kind })
    expect(
      JSON.stringify(plan)
        .match(/@[a-z]+@/g)
        ?.filter((word) => word !== '@set@' && word !== '@newest@') ?? [],
    ).toEqual([])
    const runs = plan.steps
      .flatMap(({ run, rehearse }) => [run ?? [], rehearse ?? []])
      .filter((words) => words.length > 0)
    expect(runs.length).toBeGreaterThan(1)
    for (const words of runs) {
      const id = [words.slice(0, 2).join(':'), words[0] ?? ''].find((name) => commands.has(name))
      expect(id, words.join(' ')).toBeDefined()
      for (const word of words.filter((one) => one.startsWith('--'))) {
        expect(commands.get(id ?? '')?.flags.has(word.slice(2)), words.join(' ')).toBe(true)
      }
    }
    expect(plan.steps.some(({ run }) => run?.join(' ') === 'ceremony preflight')).toBe(true)
  })
})

it('refuses a plan with a role that nobody has, a member that is unknown, a secret', async () => {
  const plan = await makePlan({ ...base, kind: 'rotation' })
  const parse = (value: object) => parsePlan(Buffer.from(JSON.stringify(value)), 'plan.yaml')
  expect(parse(plan)).toEqual(plan)
  const [first, ...rest] = plan.steps
  expect(() => parse({ ...plan, steps: [{ ...first, role: 'nobody' }, ...rest] })).toThrow(
    'whose role nobody',
  )
  expect(() => parse({ ...plan, more: 1 })).toThrow('no plan of a ceremony')
  expect(() => parse({ ...plan, steps: [{ ...first, text: vectors.kek }, ...rest] })).toThrow(
    'a 32-byte key, at steps.0.text',
  )
  await expect(makePlan({ ...base, kind: 'other' })).rejects.toThrow('there is no plan for "other"')
  await expect(
    makePlan({ ...base, kind: 'rotation', people: { boss: { name: 'x', openpgp: null } } }),
  ).rejects.toThrow('no role boss')
})

it('takes an outline of the site, with its own kind', async () => {
  const folder = mkdtempSync('/var/tmp/kvx-plan-')
  try {
    const outline = join(folder, 'drill.yaml')
    const step = '{ title: "Look at @key@", role: lead, text: "", run: [status] }'
    writeFileSync(outline, `title: A look\nroles: { lead: does it }\nsteps: [${step}]\n`)
    const plan = await makePlan({ ...base, kind: 'monthly-look', outline })
    expect(plan).toMatchObject({ kind: 'monthly-look', steps: [{ title: 'Look at master', exit: [0] }] })
    expect(readFileSync(outline, 'utf8')).toContain('@key@')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

it('finds a key or a share in whatever form a person may type it, and lets prose pass', () => {
  const key = Buffer.from(vectors.kek, 'hex')
  const typed = [
    vectors.kek,
    key.toString('base64'),
    `it is ${key.toString('base64')} !`,
    vectorText(1),
    vectorText(1)
      .toLowerCase()
      .replaceAll(/(.{4})/g, '$1 '),
    vectorText(2).slice(0, 40),
    vectorText(3).replace('KVX1', 'KVXTEST1'),
    `1-${vectors.kek}`,
  ]
  for (const text of typed) expect(secretIn(text), text.slice(0, 6)).toBeDefined()
  for (const text of ['bag 0042, sealed', '50A3461D7A', 'set KVXDEM, share 2 of 5', '20QH-UMYA-NKS3-6YQF']) {
    expect(secretIn(text)).toBeUndefined()
  }
})
