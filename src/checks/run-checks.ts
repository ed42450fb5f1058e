import { dirname } from 'node:path'
import { isKvxError, KvxError } from '../core/errors.ts'
import { type Acl, readAcl, readAclAt } from '../platform/acl.ts'
import { quotedPath, shownPath } from '../platform/file-errors.ts'
import { type FileFacts, openFacts, sameFile } from '../platform/file-facts.ts'
import { closeQuietly, openToLook, readFileCapped } from '../platform/files.ts'
import type { DocumentChecks } from './documents.ts'
import {
  checkKeyFile,
  checkParent,
  fileFinding,
  linkFinding,
  maxKeyBytes,
  typeFinding,
  unreadableFinding,
} from './key-file.ts'
import type { FileOptions } from './key-file.ts'
import { checkKeyFormat, type FormatOptions, type KeyFacts, type Subject } from './key-format.ts'
import { reuseFindings } from './reuse.ts'
import { type Finding, type RuleChoice, type RuleGroup, wantsGroup, wantsRule } from './rules.ts'
import { scanTexts } from './scan/scan-texts.ts'
import type { Target, Targets } from './targets.ts'

export type CheckOptions = {
  readonly rules: RuleChoice
  readonly format: FormatOptions
  readonly files: FileOptions
  readonly documents: DocumentChecks
}

/** A key that is no file: a variable of the environment or standard input. */
export type GivenKey = { readonly shown: string; readonly bytes: Uint8Array }

export type Checked = {
  /** As in findings. */
  readonly path: string
  readonly key: KeyFacts | undefined
}

export type CheckResult = {
  readonly findings: readonly Finding[]
  readonly checked: readonly Checked[]
  /** Texts that were looked through besides. */
  readonly texts: number
}

/** Applies the chosen rules to files and given keys, whose bytes are wiped. Writes nothing. */
export async function runChecks(
  files: Targets,
  given: readonly GivenKey[],
  options: CheckOptions,
): Promise<CheckResult> {
  const looks: Look[] = []
  const parents = new Map<string, Finding | undefined>()
  const targets = files.targets.filter(({ kind }) =>
    groupsOf[kind].some((group) => wantsGroup(options.rules, group)),
  )
  for (const target of targets) {
    const look = await lookAtFile(target, options)
    if (wantsGroup(options.rules, 'files') && target.kind === 'key') {
      const directory = dirname(target.path)
      const isKnown = parents.has(directory)
      if (!isKnown) parents.set(directory, await checkParent(directory, options.files.owner))
    }
    looks.push(look)
  }
  for (const key of given) looks.push(lookAtGiven(key, options))
  const keys = looks.flatMap(({ subject, key, same }) =>
    key === undefined ? [] : [{ subject, same, fingerprint: key.fingerprint, line: undefined }],
  )
  const texts = textGroups.some((group) => wantsGroup(options.rules, group)) ? (files.texts ?? []) : []
  const scanned = scanTexts(texts)
  const findings = [
    ...files.findings,
    ...[...parents.values()].filter((finding) => finding !== undefined),
    ...looks.flatMap((look) => look.findings),
    ...scanned.findings,
    ...reuseFindings([...keys, ...scanned.keys]),
  ]
  return {
    findings: findings.filter(({ rule }) => wantsRule(options.rules, rule)),
    checked: looks.map(({ subject, key }) => ({ path: subject.shown, key })),
    texts: texts.length,
  }
}

/** Groups whose rules are about keys in texts. */
const textGroups: readonly RuleGroup[] = ['format', 'manifest', 'secrets']

const groupsOf: Readonly<Record<Target['kind'], readonly RuleGroup[]>> = {
  key: ['format', 'files'],
  config: ['config'],
  manifest: ['manifest'],
  message: ['ciphertext'],
}

type Look = {
  readonly subject: Subject
  readonly findings: readonly Finding[]
  readonly key: KeyFacts | undefined
  /** Names one file, however many names it has. */
  readonly same: string
}

function lookAtGiven(given: GivenKey, options: CheckOptions): Look {
  const subject = {
    shown: given.shown,
    again: '`openssl rand -base64 32`, taken into the variable by a file',
  }
  try {
    if (!wantsGroup(options.rules, 'format'))
      return { subject, findings: [], key: undefined, same: given.shown }
    return { subject, ...checkKeyFormat(subject, given.bytes, options.format), same: given.shown }
  } finally {
    given.bytes.fill(0)
  }
}

async function lookAtFile(target: Target, options: CheckOptions): Promise<Look> {
  const { path, facts } = target
  const subject = { shown: shownPath(path), again: `\`kvx keygen NAME --out ${quotedPath(`${path}.new`)}\`` }
  const look = { subject, key: undefined, same: `${facts.dev}:${facts.ino}` }
  if (target.kind !== 'key') {
    return { ...look, findings: await options.documents(target) }
  }
  const isLink = facts.type === 'symlink'
  const link = isLink ? [linkFinding(path)] : []
  const wrongType = isLink ? undefined : typeFinding(path, facts)
  if (wrongType !== undefined) return { ...look, findings: [wrongType] }
  const opened = openOrFinding(target)
  if (typeof opened !== 'number') {
    const about = isLink ? [] : await aboutFile(path, facts, await aclAt(path, options), options)
    return { ...look, findings: [...link, opened, ...about] }
  }
  try {
    const own = openFacts(opened)
    const behind = typeFinding(path, own)
    if (behind !== undefined) return { ...look, findings: [...link, behind] }
    const acl = wantsGroup(options.rules, 'files') ? await readAcl(opened, path) : undefined
    const about = await aboutFile(path, own, acl, options)
    const format = wantsGroup(options.rules, 'format')
      ? await readFormat(subject, path, own, options)
      : { findings: [], key: undefined }
    const findings = [...link, ...about, ...format.findings]
    return { subject, findings, key: format.key, same: `${own.dev}:${own.ino}` }
  } finally {
    closeQuietly(opened)
  }
}

async function aclAt(path: string, options: CheckOptions): Promise<Acl | undefined> {
  return wantsGroup(options.rules, 'files') ? readAclAt(path) : undefined
}

async function aboutFile(
  path: string,
  facts: FileFacts,
  acl: Acl | undefined,
  options: CheckOptions,
): Promise<readonly Finding[]> {
  return acl === undefined ? [] : checkKeyFile(path, facts, acl, options.files)
}

async function readFormat(subject: Subject, path: string, facts: FileFacts, options: CheckOptions) {
  const read = await readFileCapped(path, { maxBytes: maxKeyBytes, follow: true })
  try {
    if (!sameFile(read.facts, facts)) {
      throw new KvxError('IO_ERROR', `${shownPath(path)} changed while it was checked`, {
        hint: 'run the command again when nothing else writes the file',
      })
    }
    return checkKeyFormat(subject, read.bytes, options.format)
  } finally {
    read.bytes.fill(0)
  }
}

/** Opens without blocking, or says why this file cannot be looked into. The others still are. */
function openOrFinding({ path, isNamed }: Target): number | Finding {
  try {
    return openToLook(path, true)
  } catch (error) {
    if (!isKvxError(error)) throw error
    if (error.details['errno'] === 'EACCES') return unreadableFinding(path)
    if (error.code === 'UNSAFE_FILE_TYPE') return fileFinding('FILE_TYPE', path, error)
    if (error.code !== 'FILE_NOT_FOUND') throw error
    const dangling = new KvxError('FILE_NOT_FOUND', `cannot check ${shownPath(path)}: it points to nothing`, {
      hint: `see where it points: \`readlink ${quotedPath(path)}\``,
    })
    if (isNamed) throw dangling
    return fileFinding('FILE_TYPE', path, dangling)
  }
}
