import { afterAll, describe, expect, test } from 'vitest'
import { answered, DocumentSites, named, type State, type } from './document-site.ts'
import { shownLines } from './lines.ts'
import { page } from './pages.ts'
import { killed, policy } from './scenes.ts'

/*
 * The examples in the help of each command, typed: each one at a site of its own. `docs/commands.md` has them all,
 * as `kvx COMMAND --help` shows them.
 */

type Situation = {
  readonly lines: RegExp
  readonly state: State
  /** What was done before, in a shell. */
  readonly before?: string
  /** Where it rightly does not end in 0. */
  readonly ends?: number
}

const planned = 'kvx plan rewrap app.secrets --out plan.json'
const retired = 'kvx retire master@1 --confirm master@1'
const vault = [
  'sed -i "s/^keys:/keys:\\n  vk: { purpose: vault }/" kvx.yaml',
  'printf "vaults:\\n  tk: { directory: vaults, key: vk }\\n" >> kvx.yaml',
  'kvx keygen vk',
  'printf "{\\"key\\":\\"value\\"}" | kvx vault put tk -',
].join(' && ')
const bareVault =
  'kvx keygen tk --dir sys && printf "{\\"key\\":\\"value\\"}" > new.json && kvx vault put tk - --key-dir sys --storage-dir vaults < new.json'
const staged = 'kvx rotate master --stage --yes'

const situations: readonly Situation[] = [
  { lines: /kvx apply/, state: 'rotated', before: planned },
  {
    lines: /audit verify evidence/,
    state: 'moved',
    before: 'kvx audit export --out evidence.jsonl && cp .kvx/audit/audit.pub .',
  },
  { lines: /kvx audit/, state: 'moved' },
  {
    lines: /backup create .*--recipient/,
    state: 'taken',
    before: 'gpg --armor --export RECIPIENT > alice.asc',
  },
  { lines: /backup home$/, state: 'saved', before: 'echo "home-backup: elsewhere/home.json" >> kvx.yaml' },
  { lines: /kvx backup/, state: 'saved' },
  { lines: /check \/opt/, state: 'taken', before: 'kvx keygen tk --dir sys --reader daemon' },
  { lines: /check .*--format sarif/, state: 'taken', ends: 3 },
  {
    lines: /--baseline/,
    state: 'taken',
    before: 'kvx check --recursive . --write-baseline kvx-baseline.json',
  },
  { lines: /kvx (check|completion|keygen tk|ceremony preflight)/, state: 'taken' },
  { lines: /keygen master/, state: 'keyless' },
  { lines: /keygen/, state: 'bare' },
  { lines: /destroy .*--due --accept-loss/, state: 'moved', before: retired, ends: 6 },
  {
    lines: /destroy .*--cancel/,
    state: 'moved',
    before: `${retired} && kvx destroy master@1 --after 7d --confirm master@1`,
  },
  { lines: /destroy|unretire|plan rotate/, state: 'moved', before: retired },
  { lines: /discover sqlite/, state: 'rotated', ends: 3 },
  {
    lines: /discover "directory/,
    state: 'rotated',
    before: 'mkdir data && echo "{}" > data/a.json && cp app.kek app.key',
  },
  { lines: /discover/, state: 'rotated' },
  { lines: /status --due/, state: 'rotated', ends: 3 },
  { lines: /init/, state: 'bare', before: 'rm kvx.yaml' },
  { lines: /inspect .*tk\.key/, state: 'taken', before: 'kvx keygen tk --dir sys' },
  { lines: /inspect .*\.asc/, state: 'saved' },
  { lines: /inspect .*tk\.enc/, state: 'taken', before: `${bareVault} && cp vaults/tk.enc elsewhere` },
  { lines: /key import .*--seals/, state: 'taken' },
  { lines: /key import/, state: 'bare', before: 'kvx init' },
  { lines: /key resume/, state: 'rotated', before: 'kvx key suspend master@1 --reason "incident 12" --yes' },
  { lines: /plan approve/, state: 'rotated', before: `${policy} && ${planned}` },
  { lines: /plan show/, state: 'rotated', before: planned },
  { lines: /retire/, state: 'moved' },
  { lines: /rotate .*--(activate|unstage)/, state: 'saved', before: staged },
  { lines: /kvx rotate/, state: 'saved' },
  { lines: /run (resume|rollback|abandon)/, state: 'saved', before: killed },
  { lines: /kvx run/, state: 'moved' },
  { lines: /restore --from gpg/, state: 'saved' },
  {
    lines: /restore --from home/,
    state: 'saved',
    before: 'kvx backup home --out elsewhere/kvx-home.json && rm -r .kvx',
  },
  { lines: /vault .*--key-dir/, state: 'taken', before: bareVault },
  {
    lines: /vault import/,
    state: 'taken',
    before: `${vault} && kvx vault export tk --out tk.json && kvx vault delete tk --confirm tk`,
  },
  { lines: /vault/, state: 'taken', before: vault },
  { lines: /key|plan|rewrap|metrics|doctor|status|verify|template|--new-deks/, state: 'rotated' },
]

/** What is parsed and not run here, and why. */
const onlyParsed: readonly { readonly lines: RegExp; readonly because: string }[] = [
  { lines: /pass show|vault kv|docker-secret|ssh host|sqlite3 /, because: 'another program or host' },
  {
    lines: /KVXDEM|--from (shares|ssss|vault)|backup (split|recreate-share|reshare)|kvx share |drill master$/,
    because: 'custodians type shares at a terminal: test/scenarios/share-life.test.ts, share-cards.test.ts',
  },
  { lines: /confirm B7K2M9$/, because: 'a code typed at a terminal: test/scenarios/shares.test.ts' },
  { lines: /ceremony (plan|run|sign|verify)/, because: 'several people at one terminal: test/ceremony' },
  { lines: /…|--require-offline|\/media\//, because: 'a head, a machine or a medium that the reader has' },
  {
    lines: /audit adopt|--forward/,
    because: 'after a disaster: test/scenarios/worst-day.test.ts, review-runs.test.ts',
  },
  {
    lines: /(reencrypt|seal)(?!.*--new-deks)/,
    because: 'an application without DEKs: test/scenarios/envelope-work.test.ts',
  },
]

const sites = new DocumentSites()
afterAll(() => sites.close())

const examples = shownLines(page('docs/commands.md')).map(({ line }) => line)
const toRun = examples.filter((line) => !onlyParsed.some(({ lines }) => lines.test(line)))
const situationOf = (line: string): Situation | undefined => situations.find(({ lines }) => lines.test(line))

test('every example is run, or is in the short list of what cannot be', () => {
  expect(toRun.filter((line) => situationOf(line) === undefined)).toEqual([])
  expect(toRun.length).toBeGreaterThan(100)
  expect(onlyParsed.filter(({ lines }) => !examples.some((line) => lines.test(line)))).toEqual([])
})

describe('the example', () => {
  test.each(toRun)('%s', (line) => {
    const { state, before, ends = 0 } = situationOf(line) ?? { state: 'bare' }
    const site = sites.copy(state)
    if (before !== undefined) {
      const { status, output } = type(site, named(site, sites, before))
      expect(status, `${before}\n${output}`).toBe(0)
    }
    const asTyped = answered(named(site, sites, line))
    const { status, output } = type(site, asTyped)
    expect(status, `${asTyped}\n${output}`).toBe(ends)
  })
})
