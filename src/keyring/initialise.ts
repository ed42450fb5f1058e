import { dirname, join, resolve } from 'node:path'
import { loadConfig } from '../config/config.ts'
import { configTemplate } from '../config/template.ts'
import { createFile } from '../platform/create-file.ts'
import { exists } from '../platform/files.ts'
import { removeLeftover } from '../platform/temp-file.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { createHome, refuseExistingHome } from './init-home.ts'

export type Initialised = {
  readonly config: string
  readonly configWritten: boolean
  readonly home: string
  /** Null for a dry run. */
  readonly auditFingerprint: string | null
}

/** Where the new configuration goes, for the one who describes it. */
export type NewConfig = {
  readonly path: string
  readonly home: string
  /** The home that was named by hand and goes into the file. */
  readonly namedHome: string | undefined
}

/**
 * Writes the configuration (0600) where there is none, then the home. A home that exists stops it before anything
 * is asked or written.
 * @throws HOME_EXISTS, UNSAFE_DIRECTORY, CONFIG_INVALID, and what `describe` throws: nothing is written then
 */
export async function initialise(request: {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly dryRun: boolean
  /** Asks a person for the text of a new configuration; the template without it. */
  readonly describe?: ((at: NewConfig) => Promise<string>) | undefined
}): Promise<Initialised> {
  const path = resolve(request.config ?? process.env['KVX_CONFIG'] ?? 'kvx.yaml')
  const isNew = !(await exists(path))
  const namedHome = request.home === undefined ? undefined : resolve(request.home)
  const home = isNew
    ? (namedHome ?? defaultHome(path))
    : (await loadConfig({ config: path, home: request.home })).home
  await refuseExistingHome(home)
  if (request.dryRun) return { config: path, configWritten: isNew, home, auditFingerprint: null }
  await checkDirectoryTrust(dirname(path))
  await removeLeftover(path)
  if (isNew) {
    const text = await (request.describe?.({ path, home, namedHome }) ?? configTemplate(namedHome))
    await createFile(path, Buffer.from(text), { mode: 0o600 })
    await loadConfig({ config: path, home: request.home })
  }
  const { auditFingerprint } = await createHome(home)
  return { config: path, configWritten: isNew, home, auditFingerprint }
}

/** Where a home lies when nothing says otherwise. */
function defaultHome(config: string): string {
  return config === '/etc/kvx/kvx.yaml' ? '/var/lib/kvx' : join(dirname(config), '.kvx')
}
