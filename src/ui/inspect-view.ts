import { type Inspection, nextAfter } from '../checks/inspect.ts'
import { columns, count } from './columns.ts'

const kinds: Readonly<Record<string, string>> = {
  key: 'key file',
  empty: 'empty file',
  directory: 'directory',
  fifo: 'FIFO',
  socket: 'socket',
  device: 'device',
  sqlite: 'SQLite database',
  'openpgp-message': 'OpenPGP message',
  openpgp: 'OpenPGP block',
  pem: 'PEM file',
  jwk: 'JSON Web Key',
  json: 'JSON',
  'ssh-key': 'SSH key',
  'age-message': 'message of age',
  'age-secret-key': 'secret key of age',
  'kvx-share': 'share of kvx',
  'kvx-rehearsal-share': 'share of a rehearsal: no key is in it',
  'kvx-keyring': 'keyring of kvx',
  'kvx-vault': 'vault of kvx',
  'kvx-config': 'configuration of kvx',
  'kvx-backup-manifest': 'backup manifest of kvx',
  'encoded-value': 'encoded value',
  'env-file': 'env file',
  text: 'text',
  binary: 'binary data',
}

const words: Readonly<Record<string, string>> = {
  checkValue: 'check value',
  pageSize: 'page size',
  userVersion: 'user version',
  entropyBitsPerByte: 'entropy (bits a byte)',
  looksSealed: 'looks sealed',
  recipients: 'recipient key ids',
}

/** What a file is, a fact a line, then the next command. */
export function inspectLines(found: Inspection): readonly string[] {
  const kind = kinds[found.kind] ?? found.kind
  const rows = Object.entries(found.facts)
    .map(([name, value]) => [words[name] ?? name, factText(value)] as const)
    .filter(([, text]) => text !== '')
  const next = nextAfter(found)
  return [
    `${found.path}  ${kind}`,
    ...columns(
      [
        ['size', `${count(found.size)} bytes`],
        ['access', `${found.mode} ${found.owner}:${found.group}`],
        ...rows,
      ],
      '  ',
    ),
    ...(next === undefined ? [] : ['', `Next: ${next}`]),
  ]
}

function factText(value: Inspection['facts'][string]): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return Array.isArray(value) ? value.join(', ') : String(value)
}
