import type { BadInput } from './place.ts'

/** Commands with what they need to be valid, and whether one more word is too many. */
const commands: readonly (readonly [string, ...string[]])[] = [
  ['init'],
  ['keygen', 'x'],
  ['key', 'list'],
  ['key', 'show', 'master'],
  ['key', 'import', 'other'],
  ['key', 'publish', 'master'],
  ['key', 'suspend', 'master@1'],
  ['key', 'resume', 'master@1'],
  ['key', 'compromise', 'master@1'],
  ['key', 'unretire', 'master@1'],
  ['inspect', 'kvx.yaml'],
  ['rotate', 'master'],
  ['retire', 'master@1'],
  ['destroy', 'master@1'],
  ['run', 'list'],
  ['run', 'show', 'x'],
  ['run', 'resume'],
  ['run', 'rollback', 'x'],
  ['run', 'restore', 'x'],
  ['run', 'forget', 'x'],
  ['backup', 'create', 'master'],
  ['backup', 'confirm', 'x'],
  ['backup', 'split', 'master'],
  ['backup', 'list'],
  ['backup', 'verify', 'master'],
  ['backup', 'home'],
  ['restore', 'x'],
  ['vault', 'put', 'tk', '{}'],
  ['vault', 'get', 'tk', 'a'],
  ['vault', 'list'],
  ['vault', 'delete', 'tk', 'a'],
  ['vault', 'export', 'tk'],
  ['vault', 'import', 'tk'],
  ['status'],
  ['audit', 'show'],
  ['audit', 'verify'],
  ['doctor'],
  ['verify'],
  ['check'],
  ['rewrap'],
  ['reencrypt'],
  ['seal'],
  ['discover'],
]

const unknownFlags: readonly BadInput[] = commands.map((words) => ({
  title: `a flag that kvx ${words.join(' ')} does not have`,
  args: [...words, '--enforce'],
  says: '2 USAGE there is no flag --enforce',
}))

const missing: readonly BadInput[] = (
  [
    ['keygen'],
    ['key', 'show'],
    ['key', 'import'],
    ['key', 'suspend'],
    ['key', 'resume'],
    ['key', 'compromise'],
    ['key', 'unretire'],
    ['inspect'],
    ['rotate'],
    ['retire'],
    ['run', 'restore'],
    ['run', 'forget'],
    ['backup', 'confirm'],
    ['vault', 'put'],
    ['vault', 'get'],
    ['vault', 'delete'],
    ['vault', 'export'],
    ['vault', 'import'],
  ] as const
).map((words) => ({
  title: `kvx ${words.join(' ')} without what it is about`,
  args: words,
  says: '2 USAGE an argument is missing: ',
}))

const valued: readonly BadInput[] = (
  [
    ['a batch of none', ['rewrap', '--batch', '0'], '2 USAGE --batch takes a whole number from 1'],
    ['a batch that is a word', ['rewrap', '--batch', 'many'], '2 USAGE --batch takes a whole number'],
    ['a negative batch', ['rewrap', '--batch=-4'], '2 USAGE --batch takes a whole number from 1'],
    ['a rate of none', ['rewrap', '--rate', '0'], '2 USAGE --rate takes a whole number from 1 or auto'],
    ['a rate without a number', ['rewrap', '--rate', 'slow'], '2 USAGE --rate takes a whole number'],
    [
      'a look at so many records a second',
      ['verify', '--rate', '5'],
      '2 USAGE Expected --rate=5 to be one of: auto',
    ],
    ['fewer workers than none', ['rewrap', '--workers=-1'], '2 USAGE --workers takes a whole number from 0'],
    ['workers that are a word', ['rewrap', '--workers', 'all'], '2 USAGE --workers takes a whole number'],
    ['a sample of none', ['verify', '--sample', '0'], '2 USAGE --sample takes a whole number from 1'],
    ['a sample that is a word', ['verify', '--sample', 'some'], '2 USAGE --sample takes a whole number'],
    [
      'a way with errors that does not exist',
      ['rewrap', '--on-error', 'ignore'],
      '2 USAGE Expected --on-error=ignore to be one of: stop, quarantine',
    ],
    [
      'a progress that does not exist',
      ['rewrap', '--progress', 'loud'],
      '2 USAGE Expected --progress=loud to be one of: human, json, none',
    ],
    [
      'a purpose that does not exist',
      ['keygen', 'x', '--dir', 'keys', '--purpose', 'fun'],
      '2 USAGE Expected --purpose=fun to be one of: kek, data, vault',
    ],
    [
      'data in another way',
      ['rotate', 'master', '--then', 'lunch'],
      '2 USAGE Expected --then=lunch to be one of: data',
    ],
    [
      'two ways of a rotation',
      ['rotate', 'master', '--stage', '--activate'],
      '2 USAGE --activate=true cannot also be provided when using --stage',
    ],
    [
      'a waiting time without a unit',
      ['destroy', 'master@1', '--after', '7', '--confirm', 'master@1'],
      '2 USAGE a waiting time is a number and a unit',
    ],
    [
      'a waiting time in weeks',
      ['destroy', 'master@1', '--after', '1w', '--confirm', 'master@1'],
      '2 USAGE a waiting time is a number and a unit',
    ],
    [
      'a cancellation and an execution',
      ['destroy', '--cancel', '--due'],
      '2 USAGE --due=true cannot also be provided when using --cancel',
    ],
    [
      'a threshold of one',
      ['backup', 'split', 'master', '--threshold', '1', '--custodian', 'A'],
      '2 USAGE a key is split into 2 to 32 shares, of which 2 or more rebuild it',
    ],
    [
      'a threshold above the shares',
      ['backup', 'split', 'master', '--threshold', '3', '--custodian', 'A'],
      '2 USAGE a key is split into 2 to 32 shares, of which 2 or more rebuild it',
    ],
    [
      'a threshold that is a word',
      ['backup', 'split', 'master', '--threshold', 'two'],
      '2 USAGE --threshold takes a whole number',
    ],
    [
      'a source of a key that does not exist',
      ['restore', '--from', 'memory'],
      '2 USAGE Expected --from=memory to be one of: gpg, shares, ssss, vault, home',
    ],
    ['no source of a key', ['restore'], '2 USAGE Missing required flag from'],
    [
      'a descriptor that is not open',
      ['restore', '--from', 'shares', '--share-fd', '77', '--out', 'x'],
      '9 IO_ERROR descriptor 77 cannot be read',
    ],
    [
      'a descriptor that is a word',
      ['restore', '--from', 'shares', '--share-fd', 'zero', '--out', 'x'],
      '2 USAGE --share-fd takes a whole number',
    ],
    [
      'a fingerprint that is none',
      ['restore', 'x', '--from', 'gpg', '--expect-fingerprint', 'abc', '--out', 'x'],
      '2 USAGE the expected fingerprint is not 64 hex digits',
    ],
    [
      'a configuration that is missing',
      ['verify', '--config', 'none.yaml'],
      '2 CONFIG_NOT_FOUND is no configuration at ',
    ],
    [
      'a configuration that is a folder',
      ['verify', '--config', 'keys'],
      '6 UNSAFE_FILE_TYPE it is a directory, not a regular file',
    ],
    ['a home that is missing', ['verify', '--home', 'none'], '2 HOME_NOT_FOUND is no home at '],
    ['a home that is a file', ['verify', '--home', 'kvx.yaml'], '2 HOME_NOT_FOUND is no home at '],
    [
      'a group of rules that does not exist',
      ['check', '--only', 'luck'],
      '2 USAGE there is nothing to check',
    ],
    ['a rule that does not exist', ['check', '--skip', 'LUCK'], '2 USAGE there is nothing to check'],
    [
      'a form of output that does not exist',
      ['check', '--format', 'poem'],
      '2 USAGE Expected --format=poem to be one of: human, json, sarif, junit, github',
    ],
    [
      'a path that is missing',
      ['check', 'none.key'],
      '2 FILE_NOT_FOUND cannot check none.key: it does not exist',
    ],
    [
      'a file that is missing',
      ['inspect', 'none'],
      '2 FILE_NOT_FOUND cannot inspect none: it does not exist',
    ],
    [
      'a key that is not declared',
      ['rotate', 'nobody', '--yes'],
      '2 KEY_UNKNOWN kvx.yaml names no key nobody',
    ],
    [
      'a key with a version where a name stands',
      ['rotate', 'master@1', '--yes'],
      '2 KEY_UNKNOWN kvx.yaml names no key master@1',
    ],
    [
      'a version that does not exist',
      ['retire', 'master@9', '--confirm', 'master@9'],
      '2 VERSION_UNKNOWN the key master has no version 9',
    ],
    [
      'a version that seals',
      ['retire', 'master@1', '--confirm', 'master@1'],
      '6 VERSION_IN_USE master@1 seals and cannot be retired',
    ],
    [
      'a destruction of what seals',
      ['destroy', 'master@1', '--confirm', 'master@1'],
      '6 NOT_RETIRED master@1 is not retired, so nothing proves that no value needs it',
    ],
    [
      'a resume of what is active',
      ['key', 'resume', 'master@1', '--reason', 'x', '--yes'],
      '2 STATE_TRANSITION master@1 is active, not suspended',
    ],
    [
      'a suspension without a reason',
      ['key', 'suspend', 'master@1', '--yes'],
      '2 USAGE Missing required flag reason',
    ],
    [
      'a retirement that is taken back and was none',
      ['key', 'unretire', 'master@1', '--yes'],
      '2 STATE_TRANSITION master@1 is not retired',
    ],
    [
      'an activation of nothing',
      ['rotate', 'master', '--activate', '--yes'],
      '2 NOTHING_TO_RESUME no rotation of master is under way',
    ],
    [
      'an unstaging of nothing',
      ['rotate', 'master', '--unstage', '--yes'],
      '2 NOTHING_TO_RESUME no rotation of master is under way',
    ],
    [
      'an envelope that is not declared',
      ['rewrap', 'nobody.secrets', '--yes'],
      '2 ENVELOPE_UNKNOWN kvx.yaml declares nothing of that name',
    ],
    [
      'a vault that is not declared',
      ['vault', 'get', 'nobody', 'a'],
      '2 STORE_UNKNOWN kvx.yaml names no vault of that name',
    ],
    [
      'a member that the vault does not have',
      ['vault', 'get', 'tk', 'nothing'],
      '2 KEY_UNKNOWN the vault tk has no member of that name',
    ],
    [
      'a vault that takes no JSON',
      ['vault', 'put', 'tk', 'hello'],
      '2 USAGE the input is refused: it is not a JSON object',
    ],
    [
      'a vault that takes no list',
      ['vault', 'put', 'tk', '[1]'],
      '2 USAGE the input is refused: it is not a JSON object',
    ],
    [
      'a vault that takes the same name twice',
      ['vault', 'put', 'tk', '{"x":1,"x":2}'],
      '2 USAGE the input is refused: a member stands twice in the JSON',
    ],
    ['a command that does not exist, near one that does', ['rewrpa'], '2 USAGE Did you mean `kvx rewrap`?'],
    ['a command of a topic that does not exist', ['key', 'remove'], '2 USAGE there is no command key remove'],
    [
      'a key in the place of a command',
      ['8c1f5ab4d03e7796e2615b0cf84a93d721be6f0d58c9a4173eb2805df6497acd'],
      '2 USAGE the first word is no command',
    ],
    [
      'a run that does not exist',
      ['run', 'show', '20260101T000000Z-abcdef'],
      '2 RUN_UNKNOWN there is no run of that id',
    ],
    [
      'a backup of a key without recipients',
      ['backup', 'create', 'master'],
      '2 USAGE the configuration names no backup recipients for master',
    ],
  ] as const
).map(([title, args, says]) => ({ title, args, says }))

export const usageCases: readonly BadInput[] = [...unknownFlags, ...missing, ...valued]
