import { dirname, join, resolve } from 'node:path'
import { loadConfig } from '../config/config.ts'
import { configTemplate } from '../config/template.ts'
import { KvxError } from '../core/errors.ts'
import { createFile } from '../platform/create-file.ts'
import { exists } from '../platform/files.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { homeAt } from './home.ts'
import { createHome } from './init-home.ts'

export type Initialised = {
  readonly config: string
  readonly configWritten: boolean
  readonly home: string
  /** Null for a dry run. */
  readonly auditFingerprint: string | null
}

/**
 * Writes the configuration (0600) where there is none, then the home. A home that exists stops it before
 * anything is written.
 * @throws HOME_EXISTS, UNSAFE_DIRECTORY, CONFIG_INVALID
 */
export async function initialise(request: {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly dryRun: boolean
}): Promise<Initialised> {
  const path = resolve(request.config ?? process.env['KVX_CONFIG'] ?? 'kvx.yaml')
  const isNew = !(await exists(path))
  const written = request.home === undefined ? undefined : resolve(request.home)
  const home = isNew
    ? (written ?? defaultHome(path))
    : (await loadConfig({ config: path, home: request.home })).home
  if (await exists(homeAt(home).keyring)) {
    throw new KvxError('HOME_EXISTS', `there is a home at ${home} already`, {
      hint: 'It is left as it is. `kvx key list` shows what it holds.',
    })
  }
  if (request.dryRun) return { config: path, configWritten: isNew, home, auditFingerprint: null }
  await checkDirectoryTrust(dirname(path))
  if (isNew) await createFile(path, Buffer.from(configTemplate(written)), { mode: 0o600 })
  const { auditFingerprint } = await createHome(home)
  return { config: path, configWritten: isNew, home, auditFingerprint }
}

/** Where a home lies when nothing says otherwise. */
export function defaultHome(config: string): string {
  return config === '/etc/kvx/kvx.yaml' ? '/var/lib/kvx' : join(dirname(config), '.kvx')
}
