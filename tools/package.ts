/**
 * `npm run package`: what a release consists of, in `package.out/`: the npm package, a single executable for Linux
 * x64 with a Debian package around it, the list of components, and the digests of all of them.
 */
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { makeExecutable } from './executable/make.ts'
import { runTool } from './run-tool.ts'

const root = join(import.meta.dirname, '..')
const out = join(root, 'package.out')
const work = join(out, 'work')
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
const epoch = '1700000000' // one date for all files in archives, so that two builds are one

function run(program: string, args: readonly string[]): string {
  return runTool(program, args, { cwd: root, env: { ...process.env, SOURCE_DATE_EPOCH: epoch } })
}

/** The executable with templates, schemas, manual pages and completion, under /usr/lib/kvx. */
function debian(file: string): void {
  const tree = join(work, 'deb')
  const lib = join(tree, 'usr/lib/kvx')
  for (const folder of ['dist/cli', 'bin', 'docs']) mkdirSync(join(lib, folder), { recursive: true })
  cpSync(file, join(lib, 'dist/cli/kvx'))
  symlinkSync('../dist/cli/kvx', join(lib, 'bin/kvx'))
  cpSync(join(root, 'bin/kvcrypt'), join(lib, 'bin/kvcrypt'))
  cpSync(join(root, 'templates'), join(lib, 'templates'), { recursive: true })
  cpSync(join(root, 'docs/schemas'), join(lib, 'docs/schemas'), { recursive: true })
  mkdirSync(join(tree, 'usr/bin'))
  for (const name of ['kvx', 'kvcrypt']) symlinkSync(`../lib/kvx/bin/${name}`, join(tree, 'usr/bin', name))
  const manual = join(tree, 'usr/share/man/man1')
  mkdirSync(manual, { recursive: true })
  for (const name of readdirSync(join(root, 'dist/man'))) {
    writeFileSync(
      join(manual, `${name}.gz`),
      gzipSync(readFileSync(join(root, 'dist/man', name)), { level: 9 }),
    )
  }
  const places = {
    bash: 'usr/share/bash-completion/completions/kvx',
    zsh: 'usr/share/zsh/vendor-completions/_kvx',
    fish: 'usr/share/fish/vendor_completions.d/kvx.fish',
  }
  for (const [shell, place] of Object.entries(places)) {
    mkdirSync(join(tree, place, '..'), { recursive: true })
    writeFileSync(join(tree, place), run(join(root, 'bin/kvx'), ['completion', shell]))
  }
  mkdirSync(join(tree, 'DEBIAN'))
  writeFileSync(join(tree, 'DEBIAN/control'), control())
  run('chmod', ['-R', 'u=rwX,go=rX', tree])
  run('dpkg-deb', [
    '--build',
    '--root-owner-group',
    '-Zxz',
    '-z3',
    tree,
    join(out, `kvx_${version}_amd64.deb`),
  ])
}

function control(): string {
  return [
    'Package: kvx',
    `Version: ${version}`,
    'Architecture: amd64',
    'Maintainer: the kvx project <kvx@example.org>',
    'Section: admin',
    'Priority: optional',
    'Depends: libc6, libstdc++6, acl, util-linux, coreutils, libc-bin',
    'Recommends: gpg, gpg-agent',
    'Description: the encryption keys of self-hosted applications',
    ' Makes, guards, backs up, rotates and rewraps them, and proves what lies under',
    ' which key.',
    '',
  ].join('\n')
}

function digests(): void {
  const files = readdirSync(out, { withFileTypes: true }).filter(
    (entry) => entry.isFile() && entry.name !== 'SHA256SUMS',
  )
  const lines = files
    .map(
      ({ name }) =>
        `${createHash('sha256')
          .update(readFileSync(join(out, name)))
          .digest('hex')}  ${name}`,
    )
    .toSorted()
  writeFileSync(join(out, 'SHA256SUMS'), `${lines.join('\n')}\n`)
}

rmSync(out, { recursive: true, force: true })
mkdirSync(work, { recursive: true })
run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', out])
writeFileSync(
  join(out, 'kvx.cdx.json'),
  run('npm', ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only']),
)
debian(await makeExecutable(work, join(out, 'kvx')))
rmSync(work, { recursive: true })
digests()
process.stdout.write(readFileSync(join(out, 'SHA256SUMS'), 'utf8'))
