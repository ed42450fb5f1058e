import { expect, test } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { page } from './pages.ts'

const rows = [
  ...page('docs/dependencies.md').text.matchAll(
    /^\| `([^`]+)` \| ([\d.]+(?:-(?:alpha|beta)\.\d+)?) \|(.*)\|(.*)\|$/gm,
  ),
]

test('lists every dependency of package.json with its version', () => {
  const listed = Object.fromEntries(rows.map(([, name, version]) => [name, version]))
  expect(listed).toEqual(packageJson.devDependencies)
})

test('says of each what it is for and what else was considered', () => {
  const empty = rows.filter(([, , , reason, others]) => !reason?.trim() || !others?.trim())
  expect(empty.map(([, name]) => name)).toEqual([])
})

test('pins every version exactly, and nothing is installed for users', () => {
  const versions = Object.values(packageJson.devDependencies)
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+(-(alpha|beta)\.\d+)?$/.test(version))).toEqual([])
  expect(packageJson).not.toHaveProperty('dependencies')
})
