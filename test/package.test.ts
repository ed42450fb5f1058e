import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
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
  expect(scripts.map(([name]) => name)).toEqual(
    [''].filter((name) => lock.packages[name]?.hasInstallScript === true),
  )
})

it('has a lock file that npm ci takes on every platform, without addresses of a registry', () => {
  const missing = Object.values(lock.packages).flatMap(({ optionalDependencies = {} }) =>
    Object.keys(optionalDependencies).filter((name) => lock.packages[`node_modules/${name}`] === undefined),
  )
  expect(missing).toEqual([])
  expect(readFileSync(join(root, 'package-lock.json'), 'utf8')).not.toMatch(/"resolved"|https?:\/\/registry/)
})

it('speaks of itself alone: no path of a machine stands in a tracked file', () => {
  const files = execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n')
  const found = files
    .filter((file) => !file.endsWith('package-lock.json'))
    .filter((file) =>
      /(^|[\s"'`(=])\/(work|farm|home\/[a-z]+\/(?!olet))\//.test(readFileSync(join(root, file), 'latin1')),
    )
  expect(found).toEqual([])
})
