/** Topics and the order in which the help shows commands: the words an operator looks for. */

export const programDescription =
  'Makes, guards, backs up, rotates and rewraps the encryption keys of self-hosted applications, and proves what lies under which key.'

export const topics = {
  key: { description: 'The ring: what keys there are, taking over existing ones, publishing them' },
  plan: { description: 'Work as a file with a digest: written here, approved by others, applied once' },
  run: { description: 'Runs: list, show, resume after a crash, roll back, give up, restore ciphertext' },
  backup: { description: 'OpenPGP backups, shares of keys, and the copy of the home' },
  vault: { description: 'Vaults: encrypted JSON objects, one file each' },
  share: { description: 'One share of a key: check it alone and offline, make a card of it' },
  template: { description: 'Files that kvx writes for operators: the recovery kit and more' },
  ceremony: { description: 'Key ceremonies with several people: preflight, script, record, signatures' },
  audit: { description: 'The hash-chained log of everything that kvx did' },
}

/** Groups of the root help, in order. A command that is missing here fails a test. */
export const helpGroups: readonly { readonly title: string; readonly commands: readonly string[] }[] = [
  { title: 'Set up', commands: ['init', 'keygen', 'key', 'template', 'doctor', 'completion'] },
  {
    title: 'Every day',
    commands: [
      'status',
      'check',
      'inspect',
      'verify',
      'discover',
      'rotate',
      'rewrap',
      'reencrypt',
      'seal',
      'run',
      'retire',
      'destroy',
      'plan',
      'apply',
    ],
  },
  { title: 'Backups', commands: ['backup', 'share', 'restore', 'ceremony'] },
  { title: 'Vaults', commands: ['vault'] },
  { title: 'Evidence', commands: ['audit', 'metrics'] },
]
