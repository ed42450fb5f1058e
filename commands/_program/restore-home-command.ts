import { resolve } from 'node:path'
import { loadConfig, parseConfig } from '../../src/config/config.ts'
import { type HomeCopy, readHomeCopy, restoreHome } from '../../src/keyring/home-backup.ts'
import { refuseExistingHome } from '../../src/keyring/init-home.ts'
import { exists } from '../../src/platform/files.ts'
import { confirmStep } from '../../src/ui/prompts.ts'
import type { Warning } from './document.ts'
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
  const copy = await readHomeCopy(resolve(file), flags['expect-fingerprint'])
  const configured = await configuredHome(config, copy)
  const home = flags.home === undefined ? configured : resolve(flags.home)
  await refuseExistingHome(home)
  if (flags['dry-run']) {
    return { data: { home, config, proven: copy.proven }, lines: [`would make the home ${home}`] }
  }
  await confirmStep(`Make the home ${home} from ${file}?`, answersOf(flags))
  const done = await restoreHome(copy, { home, config })
  return {
    data: { ...done, config, source: 'home', proven: copy.proven },
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
    warnings: [...done.warnings, ...elsewhere(config, configured, home)],
  }
}

/** The home of the configuration that is there, or of the one that comes with the copy. */
async function configuredHome(config: string, { backup }: HomeCopy): Promise<string> {
  return (await exists(config))
    ? (await loadConfig({ config })).home
    : parseConfig(config, Buffer.from(backup.config.text)).home
}

function elsewhere(config: string, configured: string, home: string): readonly Warning[] {
  if (configured === home) return []
  const message = `${config} says that the home is ${configured}: change its line \`home:\`, or add \`--home ${home}\` to each command`
  return [{ code: 'HOME_ELSEWHERE', message }]
}
