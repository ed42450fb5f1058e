import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { ceremonyIdForm, nonceForm } from '../backup/shares/ceremony-id.ts'
import { KvxError } from '../core/errors.ts'
import { shownPath } from '../platform/file-errors.ts'
import { readFileCapped } from '../platform/files.ts'
import { packaged } from '../platform/packaged.ts'
import { fill } from '../templates/render.ts'
import { isIdentity, scanForSecrets } from './self-scan.ts'

export const planSchema = 'kvx.ceremony-plan/1'
export const ceremonyKinds = ['key-generation', 'rotation', 'recovery', 'custodian-change'] as const

const line = z.string().regex(/^[^\p{Cc}]{1,300}$/u)
const word = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/)
const prose = z
  .string()
  .regex(/^[^\p{Cc}\n]*(\n[^\p{Cc}\n]*)*$/u)
  .max(4000)

const role = z.strictObject({
  role: word,
  /** What this person does. */
  duty: line,
  name: line.nullable(),
  /** Full fingerprint of the OpenPGP key that this person signs the record with; null: on paper. */
  openpgp: z
    .string()
    .regex(/^[0-9A-F]{40,64}$/)
    .nullable(),
})

const step = z.strictObject({
  title: line,
  /** Who does it. */
  role: word,
  text: prose,
  /** Words of a kvx command that the step runs. `@set@` is the share set that the ceremony made or uses. */
  run: z.array(line).min(1).optional(),
  /** Words of the command that a rehearsal runs in its place. */
  rehearse: z.array(line).min(1).optional(),
  /** Exit codes of it that are as they should be. */
  exit: z.array(z.int().min(0).max(255)).default([0]),
  /** What is seen when all is well. */
  expect: line.optional(),
  /** Facts that are asked for and recorded, by name. Never a secret. */
  ask: z.record(word, line).default({}),
})

const plan = z.strictObject({
  schema: z.literal(planSchema),
  kind: word,
  title: line,
  id: z.string().regex(ceremonyIdForm),
  /** Random; spoken at the start, so that nobody works from the script of another day. */
  nonce: z.string().regex(nonceForm),
  created: z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
  kvx: z.strictObject({ version: line, sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  key: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
  roles: z.array(role).min(1).max(64),
  steps: z.array(step).min(1).max(200),
})

export type Plan = Readonly<z.output<typeof plan>>
export type PlanRole = Plan['roles'][number]
export type PlanStep = Plan['steps'][number]

/** What a template of `templates/ceremony/` says: a plan with placeholders, before there are people. */
const outline = z.strictObject({
  title: line,
  roles: z.record(word, line),
  steps: z.array(
    z.strictObject({
      ...step.shape,
      /** The step is there once for each custodian; `@custodian@` and `@index@` name them. */
      each: z.literal('custodian').optional(),
    }),
  ),
})

type Outline = z.output<typeof outline>

export type Person = { readonly name: string; readonly openpgp: string | null }

export type PlanRequest = Pick<Plan, 'kind' | 'id' | 'nonce' | 'created' | 'kvx' | 'key'> & {
  /** By role; a role without one is filled in by hand, and asked for at the ceremony. */
  readonly people: Readonly<Record<string, Person>>
  readonly custodians: readonly Person[]
  /** The site's own outline in place of the one of this kvx. */
  readonly outline: string | undefined
}

const maxPlanBytes = 262_144

/**
 * The plan of a ceremony, from the outline of its kind.
 * @throws USAGE for an unknown kind or role; CONFIG_INVALID for an outline that is none
 */
export async function makePlan(request: PlanRequest): Promise<Plan> {
  const { kind, id, nonce, created, kvx, key, people, custodians } = request
  const drawn = await readOutline(request)
  if (custodians.length === 0 && needsCustodians(drawn)) {
    throw new KvxError('USAGE', 'the plan deals shares, and no custodian is named', {
      hint: `Name them under \`backup.shares\` of ${key} in kvx.yaml, or here: \`kvx ceremony plan ${kind} ${key} --custodian NAME\`, repeated.`,
    })
  }
  const values = { key, of: String(custodians.length) }
  const unknown = Object.keys(people).find((name) => !Object.hasOwn(drawn.roles, name))
  if (unknown !== undefined) {
    throw new KvxError('USAGE', `the plan has no role ${unknown}`, {
      hint: `Its roles are ${Object.keys(drawn.roles).join(', ')}; custodians are named with \`--custodian\`.`,
    })
  }
  const roles: PlanRole[] = Object.entries(drawn.roles).map(([name, duty]) => ({
    role: name,
    duty: fill(duty, values),
    name: people[name]?.name ?? null,
    openpgp: people[name]?.openpgp ?? null,
  }))
  for (const [at, { name, openpgp }] of custodians.entries()) {
    roles.push({ role: `custodian-${at + 1}`, duty: 'holds one share of the key', name, openpgp })
  }
  const steps = drawn.steps.flatMap(({ each, ...one }) =>
    each === undefined
      ? [fillStep(one, values)]
      : custodians.map(({ name }, at) =>
          fillStep(one, { ...values, custodian: name, index: String(at + 1) }),
        ),
  )
  return checkPlan(
    {
      schema: planSchema,
      kind,
      title: fill(drawn.title, values),
      id,
      nonce,
      created,
      kvx,
      key,
      roles,
      steps,
    },
    'the plan',
  )
}

function needsCustodians({ title, steps }: Outline): boolean {
  return title.includes('@of@') || steps.some(({ each }) => each === 'custodian')
}

async function readOutline({ kind, outline: named }: PlanRequest): Promise<Outline> {
  const path = named ?? (await packaged(join('templates/ceremony', `${kind}.yaml`)))
  if (path === undefined || !(named !== undefined || (ceremonyKinds as readonly string[]).includes(kind))) {
    throw new KvxError('USAGE', `there is no plan for ${JSON.stringify(kind)}`, {
      hint: `There are ${ceremonyKinds.join(', ')}; your own: \`kvx ceremony plan KIND NAME --from FILE\`.`,
    })
  }
  const { bytes } = await readFileCapped(path, { maxBytes: maxPlanBytes, follow: true })
  const parsed = outline.safeParse(parseYaml(bytes, path))
  if (parsed.success) return parsed.data
  throw invalid(path, parsed.error)
}

/** Values with signs that YAML or a command line could trip over were refused before; here they are plain text. */
function fillStep(one: PlanStep, values: Readonly<Record<string, string>>): PlanStep {
  return {
    ...one,
    title: fill(one.title, values),
    role: fill(one.role.replace(/^custodian$/, `custodian-${values['index'] ?? ''}`), values),
    text: fill(one.text, values).trim(),
    ...(one.run === undefined ? {} : { run: one.run.map((part) => fill(part, values)) }),
    ...(one.rehearse === undefined ? {} : { rehearse: one.rehearse.map((part) => fill(part, values)) }),
    ...(one.expect === undefined ? {} : { expect: fill(one.expect, values) }),
    ask: Object.fromEntries(Object.entries(one.ask).map(([name, text]) => [name, fill(text, values)])),
  }
}

/** The bytes of `plan.yaml`: they, not what they mean, are what is hashed, printed and agreed on. */
export function encodePlan(made: Plan): Buffer {
  return Buffer.from(
    `# The plan of a ceremony. Its SHA-256 was read aloud before it began: change nothing here afterwards.\n${stringify(made, { lineWidth: 110 })}`,
  )
}

/** @throws CONFIG_INVALID */
export function parsePlan(bytes: Uint8Array, path: string): Plan {
  return checkPlan(parseYaml(bytes, path), path)
}

function checkPlan(value: unknown, path: string): Plan {
  const parsed = plan.safeParse(value)
  if (!parsed.success) throw invalid(path, parsed.error)
  const { roles, steps } = parsed.data
  const names = roles.map((one) => one.role)
  const lost = steps.find((one) => !names.includes(one.role))
  if (lost !== undefined || new Set(names).size !== names.length) {
    throw new KvxError('CONFIG_INVALID', `${path} has a step whose role ${lost?.role ?? ''} nobody has`, {
      hint: 'Every step names a role, and every role stands once under `roles`.',
    })
  }
  const found = scanForSecrets(parsed.data, isIdentity)
  if (found === undefined) return parsed.data
  throw new KvxError('CONFIG_INVALID', `${path} holds what looks like ${found.what}, at ${found.path}`, {
    hint: 'A plan is printed and kept: no secret belongs into it. If it is one, replace that key.',
  })
}

function parseYaml(bytes: Uint8Array, path: string): unknown {
  try {
    // A warning of the library would show what it read.
    return parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes), { logLevel: 'error' })
  } catch {
    throw new KvxError('CONFIG_INVALID', `${shownPath(path)} is not YAML`, {
      hint: 'Look at its indentation, or make a new plan with `kvx ceremony plan`.',
    })
  }
}

function invalid(path: string, error: z.ZodError): KvxError {
  const [issue] = error.issues
  const at = issue?.path.map(String).join('.') ?? ''
  return new KvxError('CONFIG_INVALID', `${shownPath(path)} is no plan of a ceremony: ${at || 'its top'}`, {
    hint: `\`docs/ceremonies.md\` shows the members. ${issue?.code === 'unrecognized_keys' ? 'One that stands there is unknown.' : 'One is missing or has another form.'}`,
  })
}
