import { openAudit, type Audit } from '../audit/audit.ts'
import { loadAuditKey, readPublicKeys } from '../audit/audit-key.ts'
import { openSideLog } from '../audit/side-log.ts'
import type { Signer } from '../audit/signer.ts'
import { openSink, type Sink } from '../audit/sink.ts'
import { verify } from '../core/signature.ts'
import { loadConfig, type Config, type ConfigOptions } from '../config/config.ts'
import { nearest } from '../config/nearest.ts'
import type { KeyConfig } from '../config/schema.ts'
import { KvxError } from '../core/errors.ts'
import { checkDirectoryTrust } from '../platform/trust.ts'
import { withMirror } from './home-backup.ts'
import { openHome, type Home } from './home.ts'

/** What every command that works on a home needs: the configuration, the home, the log and its key. */
export type Workspace = {
  readonly config: Config
  readonly home: Home
  readonly audit: Audit
  readonly signer: Signer
  /** Verifies what this home signed, with its present key or an earlier one. */
  readonly verify: (bytes: Uint8Array, signature: Uint8Array, publicKeyFingerprint: string) => Verdict
}

type Verdict = 'valid' | 'invalid' | 'unknown'

/** @throws CONFIG_NOT_FOUND, CONFIG_INVALID, HOME_NOT_FOUND, UNSAFE_DIRECTORY and their like */
export async function openWorkspace(
  options: ConfigOptions & { readonly auditTo?: string | undefined },
): Promise<Workspace> {
  const config = await loadConfig(options)
  const opened = await openHome(config.home, config.homeOrigin)
  await checkDirectoryTrust(opened.path)
  const { signer } = await loadAuditKey(opened.audit)
  const home = withMirror(opened, config, signer)
  const audit =
    options.auditTo === undefined
      ? openAudit(home.audit, { signer, sink: sinkOf(config, home) })
      : openSideLog(options.auditTo, signer)
  return { config, home, audit, signer, verify: await verifierOf(home) }
}

function sinkOf({ audit: { sink } }: Config, home: Home): Sink | undefined {
  if (sink === undefined) return undefined
  if ('command' in sink) {
    const [program = '', ...args] = sink.command
    return openSink(home.audit, [program, ...args])
  }
  // Lines are longer than the kibibyte at which logger cuts, and a log that is not there would end in 0.
  const options = ['--socket-errors=on', '--size', '32KiB']
  return openSink(home.audit, ['logger', '--tag', 'kvx', '--priority', `${sink.syslog}.notice`, ...options])
}

async function verifierOf(home: Home): Promise<Workspace['verify']> {
  const keys = await readPublicKeys(home.audit)
  return (bytes, signature, publicKeyFingerprint) => {
    const key = keys.find(({ fingerprint }) => fingerprint === publicKeyFingerprint)
    if (key === undefined) return 'unknown'
    return verify(key.raw, bytes, signature) ? 'valid' : 'invalid'
  }
}

/** What `kvx.yaml` says of a key. @throws KEY_UNKNOWN with the nearest name */
export function configuredKey(config: Config, name: string): KeyConfig {
  const key = Object.hasOwn(config.keys, name) ? config.keys[name] : undefined
  if (key !== undefined) return key
  const meant = nearest(name, Object.keys(config.keys))
  throw new KvxError('KEY_UNKNOWN', `${config.path} names no key ${name}`, {
    hint: meant === undefined ? `Add it under \`keys:\` in ${config.path}.` : `Did you mean ${meant}?`,
  })
}
