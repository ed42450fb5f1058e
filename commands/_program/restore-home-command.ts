import { resolve } from 'node:path'
import { loadConfig } from '../../src/config/config.ts'
import { restoreHome } from '../../src/keyring/home-backup.ts'
import { defaultHome } from '../../src/keyring/initialise.ts'
import { exists } from '../../src/platform/files.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import type { Outcome } from './kvx-command.ts'
import { answersOf } from './run-flags.ts'

type HomeFlags = Parameters<typeof answersOf>[0] & {
  readonly config: string | undefined
  readonly home: string | undefined
  readonly 'expect-fingerprint': string | undefined
  readonly 'dry-run': boolean
}

/** `restore --from home`: the keyring and the encrypted backups of a home that is gone. */
export async function restoreHomeCommand(file: string, flags: HomeFlags): Promise<Outcome> {
  const config = resolve(flags.config ?? process.env['KVX_CONFIG'] ?? 'kvx.yaml')
  const home = await homePath(config, flags.home)
  if (flags['dry-run']) return { data: { home, config }, lines: [`would make the home ${home}`] }
  await confirmStep(`Make the home ${home} from ${file}?`, answersOf(flags))
  const done = await restoreHome(resolve(file), { home, config }, flags['expect-fingerprint'])
  return {
    data: { ...done, config, source: 'home' },
    lines: [
      `home  ${done.home}`,
      ...(done.configWritten ? [`wrote  ${config}`] : []),
      `new audit key  ${done.auditFingerprint}`,
      ...done.missing.map(({ subject, backup }) =>
        backup === undefined
          ? `  ${subject}: no backup here; bring its key from elsewhere`
          : `  ${subject}: kvx restore --from gpg ${done.home}/backups/${backup}`,
      ),
      'Then: kvx verify',
    ],
    warnings: done.warnings,
  }
}

async function homePath(config: string, named: string | undefined): Promise<string> {
  if (named !== undefined) return resolve(named)
  return (await exists(config)) ? (await loadConfig({ config })).home : defaultHome(config)
}
