/**
 * Completes `package-lock.json`: some packages name optional binaries for platforms that a registry does not
 * carry. npm then leaves them out of the lock file and `npm ci` refuses it. They are written as what they are,
 * optional packages for another platform, which nothing installs here. Run after each `npm install`.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

type Package = {
  version?: string
  optional?: boolean
  dev?: boolean
  os?: string[]
  cpu?: string[]
  optionalDependencies?: Record<string, string>
}

const path = join(import.meta.dirname, '../package-lock.json')
const lock = JSON.parse(readFileSync(path, 'utf8')) as { packages: Record<string, Package> }

const systems = [
  'android',
  'darwin',
  'freebsd',
  'linux',
  'netbsd',
  'openbsd',
  'openharmony',
  'sunos',
  'win32',
  'aix',
  'wasm32',
]
const processors = [
  'arm64',
  'arm',
  'x64',
  'ia32',
  'loong64',
  'mips64el',
  'ppc64',
  'riscv64',
  's390x',
  'wasm32',
]

function platformOf(name: string): Pick<Package, 'os' | 'cpu'> | undefined {
  const words = name.split(/[/-]/)
  const os = systems.find((system) => words.includes(system))
  const cpu = processors.find((processor) => words.includes(processor))
  return os === undefined && cpu === undefined
    ? undefined
    : { ...(os !== undefined && os !== 'wasm32' && { os: [os] }), ...(cpu !== undefined && { cpu: [cpu] }) }
}

let added = 0
for (const facts of Object.values({ ...lock.packages })) {
  for (const [name, version] of Object.entries(facts.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`
    const platform = platformOf(name)
    if (lock.packages[key] !== undefined || platform === undefined) continue
    lock.packages[key] = { version, dev: true, optional: true, ...platform }
    added++
  }
}

const sorted = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(path, `${JSON.stringify({ ...lock, packages: sorted }, null, 2)}\n`)
process.stdout.write(`${added} optional packages of other platforms added\n`)
