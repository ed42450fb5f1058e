import * as Flags from '@oclif/core/flags'
import { ruleGroups } from '../../src/checks/rules.ts'
import { keyEncodings } from '../../src/core/key-encoding.ts'

export const checkFlags = {
  only: Flags.string({
    description: `groups of rules to apply: ${ruleGroups.join(', ')}`,
    helpValue: 'GROUPS',
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',' as const,
    helpGroup: 'RULES',
  }),
  skip: Flags.string({
    description: 'a rule to leave out; more with commas or more than once',
    helpValue: 'RULE',
    multiple: true,
    multipleNonGreedy: true,
    delimiter: ',' as const,
    helpGroup: 'RULES',
  }),
  'fail-on': Flags.option({
    description: 'what ends in exit 3',
    options: ['error', 'warning'] as const,
    default: 'error' as const,
    helpGroup: 'RULES',
  })(),
  env: Flags.string({
    description: 'a variable of the environment that holds a key; can be given more than once',
    helpValue: 'VAR',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup: 'KEYS',
  }),
  stdin: Flags.boolean({ description: 'a key on standard input', helpGroup: 'KEYS' }),
  encoding: Flags.option({
    description: 'how the application reads its keys (default: found out from the bytes)',
    options: keyEncodings,
    helpGroup: 'KEYS',
  })(),
  length: Flags.integer({
    description: 'bytes that a key must have',
    default: 32,
    min: 16,
    max: 1024,
    helpValue: 'BYTES',
    helpGroup: 'KEYS',
  }),
  'expect-fingerprint': Flags.string({
    description: 'the fingerprint that the one key must have (64 hex digits)',
    helpValue: 'FINGERPRINT',
    helpGroup: 'KEYS',
  }),
  'allow-reader': Flags.string({
    description: 'a group that may read; others are then errors. Can be given more than once',
    helpValue: 'GROUP',
    multiple: true,
    multipleNonGreedy: true,
    helpGroup: 'FILES',
  }),
  owner: Flags.string({
    description: 'the user who owns the keys (default: root, or who runs kvx)',
    helpValue: 'USER',
    helpGroup: 'FILES',
  }),
  recursive: Flags.boolean({
    description: 'look through everything below the directories, in a work tree of git at what git tracks',
    helpGroup: 'TREES',
  }),
  untracked: Flags.boolean({
    description: 'with --recursive: what git does not track too',
    dependsOn: ['recursive'],
    helpGroup: 'TREES',
  }),
  exclude: Flags.string({
    description: 'with --recursive: a file or folder to leave out; can be given more than once',
    helpValue: 'NAME',
    multiple: true,
    multipleNonGreedy: true,
    dependsOn: ['recursive'],
    helpGroup: 'TREES',
  }),
  baseline: Flags.string({
    description: 'a file of findings that are known: only others count',
    helpValue: 'FILE',
    exclusive: ['write-baseline'],
    helpGroup: 'RULES',
  }),
  'write-baseline': Flags.string({
    description: 'write what is found now into such a file, and end in 0',
    helpValue: 'FILE',
    helpGroup: 'RULES',
  }),
  format: Flags.option({
    description: 'json is the same as --json; sarif, junit and github are for CI',
    options: ['human', 'json', 'sarif', 'junit', 'github'] as const,
    default: 'human' as const,
  })(),
}
