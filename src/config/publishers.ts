import { z } from 'zod'
import type { KeyEncoding } from '../core/key-encoding.ts'
import { duration, program, variable } from './values.ts'

/** The places of `publish:`, as `kvx.yaml` writes them and as the rest of kvx sees them. */

const encoding = z.enum(['raw', 'base64', 'base64url', 'hex', 'ascii'])
const textEncoding = z.enum(['base64', 'base64url', 'hex', 'ascii'])
const mode = z.string().regex(/^0?[0-7]{3}$/, 'a mode is octal text, e.g. "0640"')
const path = z.string().min(1)

/** What kvx knows of the readers of a published place. */
const readers = {
  /** How many readers there are. They cannot be restarted at the same instant, so that each must have a version first. */
  instances: z.int().positive().default(1),
  /** How long a reader may go on with a key or DEK that it has opened before. */
  'cache-ttl': duration.optional(),
  /** Exits 0 when every reader can open the staged version. */
  probe: program.optional(),
  /** Makes the readers take what is published now. */
  reload: program.optional(),
}

/** Whose a file of kvx's making is. One that is there already keeps what it has. */
const access = {
  owner: z.string().optional(),
  group: z.string().optional(),
  mode: mode.default('0640'),
  readers: z.array(z.string()).default([]),
}

const file = z.strictObject({
  file: path,
  previous: path.optional(),
  encoding: encoding.default('raw'),
  ...access,
  ...readers,
})

const envFile = z.strictObject({
  'env-file': path,
  current: variable,
  previous: variable.optional(),
  encoding: textEncoding.default('base64'),
  ...readers,
})

/** The file of a Compose secret, which the container sees under /run/secrets. */
const dockerSecret = z.strictObject({
  'docker-secret': path,
  previous: path.optional(),
  encoding: encoding.default('base64'),
  ...access,
  ...readers,
})

/** The file that a unit names in LoadCredential=, or in LoadCredentialEncrypted= when it is encrypted. */
const systemdCredential = z.strictObject({
  'systemd-credential': path,
  previous: path.optional(),
  encrypted: z.boolean().default(false),
  encoding: encoding.default('raw'),
  ...access,
  mode: mode.default('0600'),
  ...readers,
})

const dataKey = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,253}$/, 'a key of a Secret has letters, digits, - _ and .')
const objectName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9.-]{0,252}$/, 'a name of Kubernetes has small letters, digits, - and .')

const kubernetesSecret = z.strictObject({
  'kubernetes-secret': z
    .strictObject({
      file: path,
      name: objectName,
      namespace: objectName.optional(),
      key: dataKey,
      previous: dataKey.optional(),
      encoding: encoding.default('base64'),
    })
    .refine(({ key, previous }) => key !== previous, 'both slots are the same key'),
  ...readers,
})

const command = z
  .strictObject({
    /** Gets the key that seals on its standard input; nothing at all when there is none. */
    command: program,
    /** The same for the second slot. */
    previous: program.optional(),
    /** Prints what the place holds now; nothing when it is empty. */
    read: program.optional(),
    'read-previous': program.optional(),
    /** Variables of this process that the programs get. */
    env: z.array(variable).default([]),
    encoding: encoding.default('base64'),
    ...readers,
  })
  .refine(
    (place) =>
      (place['read-previous'] === undefined) === (place.previous === undefined || place.read === undefined),
    'with previous and read, and only then, read-previous tells what the second slot holds',
  )

export const publisherSchema = z.union([
  file,
  envFile,
  dockerSecret,
  systemdCredential,
  kubernetesSecret,
  command,
])

/** As `kvx.yaml` and the home's memory of places write it. */
export type WrittenPlace = z.input<typeof publisherSchema>

type Common = z.output<z.ZodObject<typeof readers>> & { readonly encoding: KeyEncoding }
type Slots<T> = { readonly current: T; readonly previous: T | undefined }

export type KeyFilePlace = Common &
  Slots<string> & {
    readonly kind: 'file' | 'docker-secret' | 'systemd-credential'
    readonly encrypted: boolean
    readonly access: z.output<z.ZodObject<typeof access>>
  }
export type EnvFilePlace = Common & Slots<string> & { readonly kind: 'env-file'; readonly file: string }
export type KubernetesPlace = Common &
  Slots<string> & {
    readonly kind: 'kubernetes-secret'
    readonly file: string
    readonly name: string
    readonly namespace: string | undefined
  }
export type CommandPlace = Common &
  Slots<readonly string[]> & {
    readonly kind: 'command'
    readonly reads: Slots<readonly string[] | undefined>
    readonly env: readonly string[]
  }

/** A published place, whatever its kind: two slots, an encoding, its readers. */
export type Place = KeyFilePlace | EnvFilePlace | KubernetesPlace | CommandPlace

/** Names of members, for the nearest one to a misspelt one. */
export const publisherMembers: readonly string[] = [
  ...new Set(
    [file, envFile, dockerSecret, systemdCredential, kubernetesSecret, command].flatMap((form) =>
      Object.keys(form.shape),
    ),
  ),
]
export const kubernetesMembers: readonly string[] = [
  'file',
  'name',
  'namespace',
  'key',
  'previous',
  'encoding',
]

/** What was written, with its defaults, as one form. */
export function placeOf(written: WrittenPlace): Place {
  const place = publisherSchema.parse(written)
  const { instances, 'cache-ttl': ttl, probe, reload } = place
  const common = { instances, 'cache-ttl': ttl, probe, reload }
  if ('kubernetes-secret' in place) {
    const { key, previous, namespace, ...rest } = place['kubernetes-secret']
    return { ...common, ...rest, kind: 'kubernetes-secret', namespace, current: key, previous }
  }
  const { encoding } = place
  if ('command' in place) {
    const reads = { current: place.read, previous: place['read-previous'] }
    const current = place.command
    return { ...common, kind: 'command', current, previous: place.previous, encoding, reads, env: place.env }
  }
  if ('env-file' in place) {
    const { current } = place
    return {
      ...common,
      kind: 'env-file',
      file: place['env-file'],
      current,
      previous: place.previous,
      encoding,
    }
  }
  const { owner, group, mode, readers: groups } = place
  const rest = {
    ...common,
    previous: place.previous,
    encoding,
    access: { owner, group, mode, readers: groups },
  }
  if ('systemd-credential' in place) {
    const { encrypted } = place
    return { ...rest, kind: 'systemd-credential', current: place['systemd-credential'], encrypted }
  }
  return 'docker-secret' in place
    ? { ...rest, kind: 'docker-secret', current: place['docker-secret'], encrypted: false }
    : { ...rest, kind: 'file', current: place.file, encrypted: false }
}

/** What it takes to look into a place, as `kvx.yaml` writes it. Nothing for a place that only a program knows. */
export function writtenForm(place: Place): WrittenPlace | null {
  if (place.kind === 'command') return null
  const { kind, current, encoding } = place
  const previous = place.previous === undefined ? {} : { previous: place.previous }
  if (kind === 'env-file') return { [kind]: place.file, current, ...previous, encoding } as WrittenPlace
  if (kind === 'kubernetes-secret') {
    const { file, name, namespace } = place
    const named = namespace === undefined ? {} : { namespace }
    return { [kind]: { file, name, ...named, key: current, ...previous, encoding } }
  }
  return {
    [kind]: current,
    ...previous,
    encoding,
    ...(place.encrypted ? { encrypted: true } : {}),
  } as WrittenPlace
}

/** The place with every path of a file moved. */
export function movePaths(place: Place, move: (path: string) => string): Place {
  if (place.kind === 'command') return place
  if (place.kind === 'env-file' || place.kind === 'kubernetes-secret')
    return { ...place, file: move(place.file) }
  const previous = place.previous === undefined ? undefined : move(place.previous)
  return { ...place, current: move(place.current), previous }
}

/** `env-file /etc/app.env#KEK`: how a place is named in messages, reports and the keyring. */
export function labelOf(place: Place): string {
  const { kind } = place
  if (kind === 'command') return `${kind} ${place.current.join(' ')}`
  if (kind === 'env-file') return `${kind} ${place.file}#${place.current}`
  if (kind !== 'kubernetes-secret') return `${kind} ${place.current}`
  const secret = place.namespace === undefined ? place.name : `${place.namespace}/${place.name}`
  return `${kind} ${place.file}#${secret}/${place.current}`
}

/** Each slot of a place by a name that no other slot may have: two keys in one slot would overwrite each other. */
export function slotsOf(place: Place): readonly string[] {
  if (place.kind === 'command') return []
  const { current, previous } = place
  const names = previous === undefined ? [current] : [current, previous]
  if (place.kind === 'env-file') return names.map((name) => `${place.file}#${name}`)
  if (place.kind !== 'kubernetes-secret') return names
  return names.map((name) => `${place.file}#${place.namespace ?? ''}/${place.name}/${name}`)
}

/** The files that a place consists of. */
export function filesOf(place: Place): readonly string[] {
  if (place.kind === 'command') return []
  if (place.kind === 'env-file' || place.kind === 'kubernetes-secret') return [place.file]
  return [place.current, place.previous ?? []].flat()
}
