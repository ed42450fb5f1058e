import { killed, policy, stopped } from './scenes.ts'
import type { Situation } from './situation.ts'

/** What one operator types: an example of the help or a command in a sentence, and what was done before it. */

/** A key came back while the log could not be written. */
const aside =
  'kvx restore --from gpg backups/master.v1.53B7TXP8.asc --confirm master@1 --audit-to /secure/restore-log.jsonl && cp restore-log.jsonl log.jsonl'
/** A password store that only the operator reads. */
const store = 'pass init RECIPIENT >&2'
const planned = 'kvx plan rewrap app.secrets --out plan.json'
const retired = 'kvx retire master@1 --confirm master@1'
const vault = [
  'sed -i "s/^keys:/keys:\\n  vk: { purpose: vault }/" kvx.yaml',
  'printf "vaults:\\n  tk: { directory: vaults, key: vk }\\n" >> kvx.yaml',
  'kvx keygen vk',
  'printf "{\\"key\\":\\"value\\"}" | kvx vault put tk -',
].join(' && ')
/** The key of a vault has its name. */
const ownVault = [
  'sed -i "s/^keys:/keys:\\n  tk: { purpose: vault, backup: { recipients: [RECIPIENT] } }/" kvx.yaml',
  'printf "vaults:\\n  tk: { directory: vaults, key: tk }\\n" >> kvx.yaml',
  'kvx keygen tk',
].join(' && ')
const bareVault =
  'kvx keygen tk --dir sys && printf "{\\"key\\":\\"value\\"}" > new.json && kvx vault put tk - --key-dir sys --storage-dir vaults < new.json'
/** The way back was stopped too, and then the old version is found to have leaked. */
const turned = [
  'kvx rotate master --offline --yes && kvx rewrap --yes',
  "id=$(kvx run list --json | jq -r '.data.runs[0].id')",
  stopped('kvx run rollback $id'),
  'kvx key compromise master@1 --reason "it leaked" --yes',
].join(' && ')
const staged = 'kvx rotate master --stage --yes'

export const ownSituations: readonly Situation[] = [
  { lines: /^kvx --/, state: 'bare' },
  { lines: /kvx apply/, state: 'rotated', before: planned },
  {
    lines: /audit verify evidence/,
    state: 'moved',
    before: 'kvx audit export --out evidence.jsonl && cp .kvx/audit/audit.pub .',
  },
  {
    lines: /audit adopt/,
    state: 'saved',
    before: `rm .kvx/keys/master.v1.key && ${aside}`,
  },
  {
    lines: /audit verify \/mnt\/copy/,
    state: 'moved',
    before: 'cp -a .kvx elsewhere && cp .kvx/audit/audit.pub .',
  },
  {
    lines: /audit verify \w+\.json/,
    state: 'moved',
    before:
      'cp .kvx/audit/log.jsonl .kvx/audit/audit.pub . && cp "$(ls .kvx/runs/*/report.json | tail -n 1)" .',
  },
  { lines: /kvx audit/, state: 'moved' },
  {
    lines: /backup create .*--recipient/,
    state: 'taken',
    before: 'gpg --armor --export RECIPIENT > alice.asc',
  },
  { lines: /backup home$/, state: 'saved', before: 'echo "home-backup: elsewhere/home.json" >> kvx.yaml' },
  { lines: /kvx backup/, state: 'saved' },
  {
    lines: /pass show kek/,
    state: 'taken',
    needs: ['pass'],
    before: `${store} && pass insert --multiline kek < app.kek`,
  },
  {
    lines: /pass show app\/kek.*--encoding hex/,
    state: 'bare',
    needs: ['pass'],
    before: `kvx init && ${store} && pass insert --multiline app/kek < app.hex`,
  },
  {
    lines: /pass show app\/kek/,
    state: 'bare',
    needs: ['pass'],
    before: `kvx init && ${store} && pass insert --multiline app/kek < app.kek`,
  },
  {
    lines: /pass show tk/,
    state: 'taken',
    needs: ['pass'],
    before: `${vault} && ${store} && pass insert --multiline tk/token.json <<< '{"key":"value"}'`,
  },
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
  { lines: /discover sqlite/, state: 'rotated', before: 'cp app.kek app.key', ends: 3 },
  {
    lines: /discover "directory/,
    state: 'rotated',
    before: 'mkdir data && echo "{}" > data/a.json && cp app.kek app.key',
  },
  { lines: /discover/, state: 'rotated' },
  { lines: /status --due/, state: 'rotated', ends: 3 },
  { lines: /init/, state: 'bare', before: 'rm kvx.yaml' },
  { lines: /inspect .*tk\.key/, state: 'taken', before: 'kvx keygen tk --dir sys' },
  { lines: /sqlite3 app\.db/, state: 'direct', needs: ['sqlite3'] },
  { lines: /inspect .*\.asc/, state: 'saved' },
  { lines: /inspect .*tk\.enc/, state: 'taken', before: `${bareVault} && cp vaults/tk.enc elsewhere` },
  {
    lines: /docker-secret:/,
    state: 'bare',
    before: 'kvx init',
    within:
      'unshare --mount sh -c \'mount -t tmpfs tmpfs /run && mkdir /run/secrets && cp app.kek /run/secrets/app_kek && exec "$@"\' sh LINE',
  },
  { lines: /key import .*--seals/, state: 'taken' },
  { lines: /key import/, state: 'bare', before: 'kvx init' },
  { lines: /key resume/, state: 'rotated', before: 'kvx key suspend master@1 --reason "incident 12" --yes' },
  { lines: /plan approve/, state: 'rotated', before: `${policy} && ${planned}` },
  {
    lines: /plan show .*--approval/,
    state: 'rotated',
    before: `${policy} && ${planned} && kvx plan approve plan.json --openpgp RECIPIENT --yes && mv plan.json.*.asc /media/stick/boole.asc`,
  },
  { lines: /plan show/, state: 'rotated', before: planned },
  { lines: /retire/, state: 'moved' },
  { lines: /rotate tk/, state: 'taken', before: ownVault },
  { lines: /rotate .*--(activate|unstage)/, state: 'saved', before: staged },
  { lines: /kvx rotate/, state: 'saved' },
  { lines: /run resume .*--forward/, state: 'saved', before: turned },
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
  { lines: /(reencrypt|seal)(?!.*--new-deks|s)/, state: 'direct' },
  { lines: /key|plan|rewrap|metrics|doctor|status|verify|template|--new-deks/, state: 'rotated' },
]
