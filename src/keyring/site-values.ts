import { dirname } from 'node:path'
import { readPublicKeys } from '../audit/audit-key.ts'
import { type Config, type ConfigOptions, loadConfig } from '../config/config.ts'
import { isKvxError } from '../core/errors.ts'
import { userName } from '../platform/accounts.ts'
import { packaged } from '../platform/packaged.ts'
import { kvxVersion } from '../version.ts'
import { homeAt } from './home.ts'

/**
 * What kvx knows of this machine, for the placeholders of templates: `kvx` (the program), `kvx-version`, `user`,
 * and where there is a configuration `config`, `folder` (where it lies), `home`, `audit-fingerprint`. No secret.
 * @throws CONFIG_INVALID, UNSAFE_MODE for a configuration that is there; CONFIG_NOT_FOUND for one that was named
 */
export async function siteValues(
  options: ConfigOptions,
): Promise<Readonly<Record<string, string | undefined>>> {
  const config = await configIfThere(options)
  const [auditKey] = config === undefined ? [] : await readPublicKeys(homeAt(config.home).audit)
  return {
    kvx: await packaged('bin/kvx'),
    'kvx-version': kvxVersion,
    user: await userName(process.geteuid?.() ?? 0),
    config: config?.path,
    folder: config && dirname(config.path),
    home: config?.home,
    'audit-fingerprint': auditKey?.fingerprint,
  }
}

/** The configuration, or undefined where there is none and none was named. */
export async function configIfThere(options: ConfigOptions): Promise<Config | undefined> {
  try {
    return await loadConfig(options)
  } catch (error) {
    const isNamed = options.config !== undefined || options.home !== undefined
    if (!isNamed && isKvxError(error, 'CONFIG_NOT_FOUND')) return undefined
    throw error
  }
}
