import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { expect } from 'vitest'
import type { CliResult } from '../support/cli.ts'

/** A digest of everything below a directory: names, types, owners, modes, ACLs, times of change, contents. */
export function treeHash(directory: string): string {
  const hash = createHash('sha256')
  const acls = execFileSync('getfacl', ['-RPpn', '--', directory])
  hash.update(acls)
  const visit = (path: Buffer): void => {
    const facts = lstatSync(path, { bigint: true })
    hash.update(path)
    hash.update(
      [facts.mode, facts.uid, facts.gid, facts.size, facts.ino, facts.mtimeNs, facts.ctimeNs].join(),
    )
    if (facts.isSymbolicLink()) hash.update(readlinkSync(path, 'buffer'))
    if (facts.isFile() && facts.size < 10_000_000n) hash.update(readFileSync(path))
    if (!facts.isDirectory()) return
    for (const name of readdirSync(path, 'buffer').sort((a, b) => a.compare(b))) {
      visit(Buffer.concat([path, Buffer.from('/'), name]))
    }
  }
  visit(Buffer.from(directory))
  return hash.digest('hex')
}

/** The ACL as `getfacl` prints it, one line an entry, numbers for names. */
export function aclOf(path: string): string[] {
  const text = execFileSync('getfacl', ['-cpn', '--', path], { encoding: 'utf8' })
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/\s+#effective.*/, ''))
}

/** Forms in which bytes could slip into an output. */
function formsOf(secret: Uint8Array): string[] {
  const bytes = Buffer.from(secret)
  const hex = bytes.toString('hex')
  const texts = [
    hex,
    hex.toUpperCase(),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
  ]
  const isText = bytes.every((code) => code === 10 || code === 13 || (code >= 0x20 && code < 0x7f))
  return isText ? [...texts, bytes.toString('latin1').trim()] : texts
}

/**
 * No part of 14 characters of any form of these bytes is in the output, and no stack trace.
 * @param secrets bytes that a command read
 */
export function expectSilence(result: CliResult, ...secrets: readonly Uint8Array[]): void {
  const output = `${result.stdout}\n${result.stderr}`
  expect(output).not.toMatch(/\n\s+at /)
  for (const secret of secrets) {
    for (const form of formsOf(secret)) {
      for (let at = 0; at + 14 <= form.length; at++) {
        if (output.includes(form.slice(at, at + 14)))
          expect.fail(`the output holds bytes of the input:\n${output}`)
      }
    }
  }
}
