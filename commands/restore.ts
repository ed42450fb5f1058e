import * as Flags from '@oclif/core/flags'
import { KvxError } from '../src/core/errors.ts'
import { restoreForeign } from '../src/keyring/restore-foreign.ts'
import { restoreKey } from '../src/keyring/restore-key.ts'
import { restoreFromShares } from '../src/keyring/restore-shares.ts'
import { notice } from '../src/platform/notices.ts'
import type { Answers } from '../src/ui/prompts.ts'
import { shareSource } from '../src/ui/collect-shares.ts'
import { confirmFingerprint } from '../src/ui/second-person.ts'
import { openShareInput, readForeignLines } from '../src/ui/share-reader.ts'
import { foreignData, foreignLines, restoredData, restoredLines } from '../src/ui/share-view.ts'
import { optionalArgument } from './_program/arguments.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import { restoreHomeCommand } from './_program/restore-home-command.ts'
import { answersOf } from './_program/run-flags.ts'
import { showMachine, surroundings, surroundingsFlags } from './_program/share-flags.ts'

export default class Restore extends KvxCommand {
  static override summary = 'Bring a key back from a backup, or a whole home from its copy.'
  static override description =
    'Opens the backup with gpg, or takes shares at the terminal (never shown) or from a descriptor, compares the full fingerprint, and puts the key file back into the home once a second person has typed the last six characters of the fingerprint (or it was given with --expect-fingerprint); with --out it writes a bare file instead, without a home. A different live key is never overwritten. What nothing proves is labelled unproven.'
  static override examples = [
    {
      description: 'Back into the home',
      command: '<%= config.bin %> restore --from gpg backups/master.v2.B7K2M9.asc',
    },
    {
      description: 'First the home, on a new machine, from the copy that `backup home` made',
      command: '<%= config.bin %> restore --from home /mnt/offsite/kvx-home.json --home /var/lib/kvx',
    },
    {
      description: 'From shares that custodians enter one after another',
      command: '<%= config.bin %> restore --from shares',
    },
    {
      description: 'From shares without a home, one a line in a file in memory',
      command:
        '<%= config.bin %> restore --from shares --manifest KVXDEM.json --out ./master.key --share-fd 3 3< /dev/shm/shares',
    },
    {
      description: 'Three shares that ssss-split made; what comes out is split again afterwards',
      command: '<%= config.bin %> restore --from ssss --threshold 3 --out ./master.key',
    },
    {
      description: 'Without a home, against a fingerprint from a card or a report',
      command:
        '<%= config.bin %> restore --from gpg master.v2.B7K2M9.asc --out ./master.key --expect-fingerprint 50a3461d7a131425…',
    },
  ]
  static override args = {
    file: optionalArgument({ description: 'the encrypted backup; none where shares are entered' }),
  }
  static override flags = {
    from: Flags.option({
      description: 'what the key comes from',
      options: ['gpg', 'shares', 'ssss', 'vault', 'home'] as const,
      required: true,
    })(),
    out: Flags.string({
      description: 'write a bare key file here, raw bytes, mode 0600; needs no home',
      helpValue: 'FILE',
    }),
    'audit-to': Flags.string({
      description: 'log here where the home’s log cannot be written; `kvx audit adopt` takes it in later',
      helpValue: 'FILE',
    }),
    'expect-fingerprint': Flags.string({
      description:
        'the fingerprint, 64 hex digits, known from elsewhere: of the key, or of the audit key with --from home',
      helpValue: 'FP',
    }),
    manifest: Flags.string({
      description: 'the public manifest of the share set; the home’s own unless told',
      helpValue: 'FILE',
    }),
    'share-fd': Flags.integer({
      description: 'read shares from this descriptor: one a line, or in four lines each',
      min: 0,
      helpValue: 'N',
    }),
    ...surroundingsFlags,
    threshold: Flags.integer({
      description: 'how many shares of ssss or Vault rebuild the key; as many as are given unless told',
      min: 2,
      max: 255,
      helpValue: 'K',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.restore/1', async () => {
      const { args, flags } = await this.parse(Restore)
      refuseUnused(flags)
      for (const { code, message } of surroundings(flags)) notice(code, message)
      if (flags.from === 'shares') {
        if (args.file === undefined) return await fromShares(flags, answersOf(flags))
        throw new KvxError('USAGE', 'shares are never given as an argument', {
          hint: 'Enter them at the terminal, or give them with `--share-fd 3 3< FILE`.',
        })
      }
      if (flags.from === 'ssss' || flags.from === 'vault') {
        if (args.file === undefined) return await fromForeign(flags.from, flags, answersOf(flags))
        throw new KvxError('USAGE', 'shares are never given as an argument', {
          hint: 'Enter them at the terminal, or give them with `--share-fd 3 3< FILE`.',
        })
      }
      if (args.file === undefined) {
        throw new KvxError('USAGE', 'an argument is missing: FILE', {
          hint: 'Name the backup: `kvx restore --from gpg FILE`.',
        })
      }
      if (flags.from === 'home') return restoreHomeCommand(args.file, flags)
      const restored = await restoreKey({
        file: args.file,
        out: flags.out,
        expectFingerprint: flags['expect-fingerprint'],
        config: flags.config,
        home: flags.home,
        auditTo: flags['audit-to'],
        interactive: process.stdin.isTTY && !flags['no-input'],
        dryRun: flags['dry-run'],
        confirm: async (key) => confirmFingerprint(key, answersOf(flags), flags['expect-fingerprint']),
      })
      return {
        data: {
          name: restored.name,
          version: restored.version,
          fingerprint: restored.fingerprint,
          checkValue: restored.checkValue,
          path: restored.path,
          source: 'gpg',
          proven: restored.proven,
          changed: restored.changed,
        },
        lines: [
          `${restored.name}@${restored.version}  check value ${restored.checkValue}  ${restored.proven ? 'proven' : 'UNPROVEN: nothing besides the file says that this is the key'}`,
          `fingerprint  ${restored.fingerprint}`,
          restored.changed
            ? `written to ${restored.path}`
            : `${restored.path} ${flags['dry-run'] ? 'would be written' : 'holds it already; nothing to do'}`,
        ],
        warnings: restored.warnings,
      }
    })
  }
}

/** What a source has no use for. A flag that does nothing is refused: it may be the one that matters. */
const unused = {
  gpg: ['manifest', 'share-fd', 'threshold'],
  shares: ['threshold'],
  ssss: ['manifest'],
  vault: ['manifest'],
  home: ['out', 'audit-to', 'manifest', 'share-fd', 'threshold'],
} as const

type SourceFlags = Pick<ShareFlags, 'out' | 'audit-to' | 'manifest' | 'share-fd' | 'threshold'> & {
  readonly from: keyof typeof unused
}

function refuseUnused(flags: SourceFlags): void {
  const found = unused[flags.from].find((name) => flags[name] !== undefined)
  if (found !== undefined) {
    throw new KvxError('USAGE', `\`--${found}\` has no use with \`--from ${flags.from}\``, {
      hint: 'Leave it out. Nothing was written.',
    })
  }
  if (flags.out === undefined || flags['audit-to'] === undefined) return
  throw new KvxError('USAGE', '`--out` writes a file outside of every home, and no log', {
    hint: 'Leave out `--audit-to`: the entry of such a restore is the one in your own notes. Nothing was written.',
  })
}

type ShareFlags = Parameters<typeof surroundings>[0] & {
  readonly config?: string | undefined
  readonly home?: string | undefined
  readonly manifest?: string | undefined
  readonly out?: string | undefined
  readonly 'expect-fingerprint'?: string | undefined
  readonly 'share-fd'?: number | undefined
  readonly threshold?: number | undefined
  readonly 'audit-to'?: string | undefined
  readonly 'dry-run': boolean
}

/** Shares that ssss or Vault made, to be split again by kvx. */
async function fromForeign(kind: 'ssss' | 'vault', flags: ShareFlags, answers: Answers): Promise<Outcome> {
  await showMachine(flags, answers)
  const restored = await restoreForeign({
    kind,
    threshold: flags.threshold,
    out: flags.out,
    expectFingerprint: flags['expect-fingerprint'],
    config: flags.config,
    home: flags.home,
    auditTo: flags['audit-to'],
    dryRun: flags['dry-run'],
    collect: async () => readForeignLines(flags['share-fd'], answers, flags.threshold),
    confirm: async (key) => confirmFingerprint(key, answers, flags['expect-fingerprint']),
  })
  return {
    data: foreignData(restored),
    lines: foreignLines(restored, flags['dry-run']),
    warnings: restored.warnings,
  }
}

async function fromShares(flags: ShareFlags, answers: Answers): Promise<Outcome> {
  await showMachine(flags, answers)
  const input = await openShareInput(flags['share-fd'], answers)
  try {
    const restored = await restoreFromShares({
      manifest: flags.manifest,
      out: flags.out,
      expectFingerprint: flags['expect-fingerprint'],
      config: flags.config,
      home: flags.home,
      auditTo: flags['audit-to'],
      dryRun: flags['dry-run'],
      ...shareSource(input, answers),
      confirm: async (key) => {
        input.close()
        await confirmFingerprint(key, answers, flags['expect-fingerprint'])
      },
    })
    return {
      data: restoredData(restored),
      lines: restoredLines(restored, flags['dry-run']),
      warnings: restored.warnings,
    }
  } finally {
    input.close()
  }
}
