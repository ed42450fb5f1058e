import { join } from 'node:path'
import { filesOf, placeOf, type Place, type WrittenPlace } from '../config/publishers.ts'
import type { KeyConfig } from '../config/schema.ts'
import { splitWords } from '../core/command-words.ts'
import { KvxError } from '../core/errors.ts'
import { decodeKey, type KeyEncoding, type KeyWarning } from '../core/key-encoding.ts'
import type { Secret } from '../core/secret.ts'
import { wholeEnvironment } from '../platform/environment.ts'
import { readFileCapped } from '../platform/files.ts'
import { readStdin } from '../platform/stdin.ts'
import { requireProgram } from '../platform/tools.ts'
import { keyLengths } from './key-lengths.ts'
import { printedKey } from './publish/command.ts'
import { makePublisher } from './publish/publish.ts'

/** What is asked of a source. */
export type SourceRequest = {
  readonly name: string
  readonly from: string | undefined
  readonly keyCommand: string | undefined
  readonly encoding: KeyEncoding | undefined
}

/** The keys of a source, which the caller wipes. */
export type FoundKey = {
  readonly current: Secret | undefined
  readonly previous: Secret | undefined
  readonly warnings: readonly KeyWarning[]
  readonly encoding: KeyEncoding
  /** The files that were read; none where a program or standard input gave the key. */
  readonly files: readonly string[]
  /** The published place that was looked into. */
  readonly place?: string
}

const maxKeyFileBytes = 65_536
const dockerSecrets = '/run/secrets'

type Source = (rest: string, request: SourceRequest, config: KeyConfig) => Promise<FoundKey>

/** What `--from` may begin with, and what follows the colon. */
const sources: Readonly<Record<string, { readonly form: string; readonly read: Source }>> = {
  file: { form: 'file:PATH', read: fromFile },
  'env-file': { form: 'env-file:PATH#VARIABLE', read: fromVariable },
  'docker-secret': {
    form: 'docker-secret:NAME',
    read: async (name, request, config) => fromFile(under(dockerSecrets, name), request, config),
  },
  'kubernetes-secret': { form: 'kubernetes-secret:PATH#[NAMESPACE/]SECRET/KEY', read: fromManifest },
  'systemd-credential': { form: 'systemd-credential:NAME', read: fromCredential },
}

/** The sources of a key, for people. */
export const keySources = [...Object.values(sources).map(({ form }) => form), 'stdin', 'command']

/**
 * The key that a source holds, decoded as told, else as it is published.
 * @throws USAGE, FILE_NOT_FOUND, INPUT_EMPTY, KEY_MALFORMED, CONFIG_INVALID (a manifest), TOOL_FAILED
 */
export async function readKeySource(request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const { from, keyCommand } = request
  if (from === 'command' || keyCommand !== undefined) return fromCommand(request, config)
  if (from === undefined) return fromPublished(request, config)
  if (from === 'stdin') return decoded(await readStdin(maxKeyFileBytes), request, config)
  const [, kind = '', rest = ''] = /^([a-z-]+):(.+)$/s.exec(from) ?? []
  const source = Object.hasOwn(sources, kind) ? sources[kind] : undefined
  if (source !== undefined) return source.read(rest, request, config)
  throw new KvxError('USAGE', `the source of a key is ${keySources.join(', ')}`, {
    hint: `For example \`kvx key import ${request.name} --from env-file:/etc/app.env#KEK --encoding base64\`.`,
  })
}

async function fromFile(path: string, request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const { bytes } = await readFileCapped(path, { maxBytes: maxKeyFileBytes, follow: true })
  return { ...decoded(bytes, request, config), files: [path] }
}

async function fromVariable(rest: string, request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const [, path, variable] = /^(.+)#([A-Za-z_][A-Za-z0-9_]*)$/s.exec(rest) ?? []
  if (path === undefined || variable === undefined) throw badForm('env-file', request)
  return fromPlace({ 'env-file': path, current: variable }, request, config)
}

async function fromManifest(rest: string, request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const match = /^(.+)#(?:([a-z0-9.-]+)\/)?([a-z0-9.-]+)\/([A-Za-z0-9._-]+)$/s.exec(rest)
  const [, file, namespace, name, key] = match ?? []
  if (file === undefined || name === undefined || key === undefined)
    throw badForm('kubernetes-secret', request)
  return fromPlace({ 'kubernetes-secret': { file, name, namespace, key } }, request, config)
}

/** What systemd gives to the unit that kvx runs in. */
async function fromCredential(name: string, request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const folder = process.env['CREDENTIALS_DIRECTORY']
  if (folder === undefined && !name.startsWith('/')) {
    throw new KvxError(
      'USAGE',
      'CREDENTIALS_DIRECTORY is not set: kvx does not run in a unit with credentials',
      {
        hint: `Give it to the unit: \`systemd-run --pipe --wait -p LoadCredential=${name}:/etc/credstore/${name} kvx key import ${request.name} --from systemd-credential:${name}\`.`,
      },
    )
  }
  return fromFile(under(folder ?? '', name), request, config)
}

/** A name in a folder. A whole path is taken as it is; a way out of the folder is no name. */
function under(folder: string, name: string): string {
  if (name.startsWith('/')) return name
  if (/^[^/]+$/.test(name) && name !== '.' && name !== '..') return join(folder, name)
  throw new KvxError('USAGE', 'a secret is named by its name or by its whole path', {
    hint: `For example \`docker-secret:app_kek\`, which is ${join(dockerSecrets, 'app_kek')}.`,
  })
}

function badForm(kind: string, request: SourceRequest): KvxError {
  return new KvxError('USAGE', `this source is written ${sources[kind]?.form ?? kind}`, {
    hint: `For example \`kvx key import ${request.name} --from env-file:/etc/app.env#KEK --encoding base64\`.`,
  })
}

async function fromPlace(
  written: WrittenPlace,
  request: SourceRequest,
  config: KeyConfig,
): Promise<FoundKey> {
  const encoding = request.encoding ?? declaredEncoding(config) ?? 'base64'
  const place = withEncoding(placeOf(written), encoding)
  const current = await makePublisher(place).readSlot('current')
  return { current, previous: undefined, warnings: [], encoding, files: filesOf(place) }
}

async function fromPublished(request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const [first] = config.publish
  if (first === undefined) {
    throw new KvxError(
      'USAGE',
      `${request.name} is published nowhere, so there is no place to take it from`,
      {
        hint: `Name it: \`kvx key import ${request.name} --from file:PATH --encoding base64\`.`,
      },
    )
  }
  if (first.kind === 'command' && first.reads.current === undefined) {
    throw new KvxError(
      'USAGE',
      `${request.name} is handed to a program, and no \`read:\` says what it holds`,
      {
        hint: `Name a source: \`kvx key import ${request.name} --from file:PATH --encoding ${first.encoding}\`.`,
      },
    )
  }
  const place = request.encoding === undefined ? first : withEncoding(first, request.encoding)
  const publisher = makePublisher(place)
  return {
    current: await publisher.readSlot('current'),
    previous: await publisher.readSlot('previous'),
    warnings: [],
    encoding: place.encoding,
    files: filesOf(place),
    place: publisher.place,
  }
}

function withEncoding(place: Place, encoding: KeyEncoding): Place {
  if (place.kind !== 'env-file' || encoding !== 'raw') return { ...place, encoding }
  throw new KvxError('USAGE', 'an env file holds text: its encoding is base64, base64url, hex or ascii')
}

/**
 * A program that the operator names on the command line gets what it would get before a pipe: the whole
 * environment, so that it finds its own configuration. No shell reads the words.
 */
async function fromCommand(request: SourceRequest, config: KeyConfig): Promise<FoundKey> {
  const { from, keyCommand, name } = request
  const example = `\`kvx key import ${name} --key-command 'pass show app/kek' --encoding base64\``
  if (keyCommand === undefined || (from !== undefined && from !== 'command')) {
    const what = keyCommand === undefined ? '`--from command` needs `--key-command`' : 'there are two sources'
    throw new KvxError('USAGE', what, { hint: `Name the program that prints the key: ${example}.` })
  }
  const words = splitWords(keyCommand)
  const [program, ...args] = words ?? []
  if (program === undefined) {
    throw new KvxError(
      'USAGE',
      'the program of `--key-command` is a line of words, in quotes where they have blanks',
      {
        hint: `For example ${example}.`,
      },
    )
  }
  return decoded(
    await printedKey([requireProgram(program), ...args], { env: wholeEnvironment() }),
    request,
    config,
  )
}

function declaredEncoding(config: KeyConfig): KeyEncoding | undefined {
  return config.publish[0]?.encoding
}

function decoded(bytes: Buffer, request: SourceRequest, config: KeyConfig): FoundKey {
  try {
    if (bytes.length === 0) throw emptySource(request)
    const encoding = request.encoding ?? declaredEncoding(config) ?? 'raw'
    const { material, warnings } = decodeKey(bytes, encoding, keyLengths(encoding))
    return { current: material, previous: undefined, warnings, encoding, files: [] }
  } finally {
    bytes.fill(0)
  }
}

/** @param place the published one, where nothing else was named */
export function emptySource(request: SourceRequest, place?: string): KvxError {
  const where = place ?? request.from ?? 'what the program printed'
  return new KvxError('INPUT_EMPTY', `there is no key in ${where}`, {
    hint: `Name where it lies: \`kvx key import ${request.name} --from SOURCE\`, which is ${keySources.join(', ')}.`,
  })
}
