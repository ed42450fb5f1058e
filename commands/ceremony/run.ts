import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { holdCeremony } from '../../src/ui/hold-ceremony.ts'
import { digestLines } from '../../src/ceremony/digest.ts'
import { KvxError } from '../../src/core/errors.ts'
import { canAsk } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class CeremonyRun extends KvxCommand {
  static override summary = 'Hold a ceremony: follow its plan step by step, and keep the record.'
  static override description =
    'Needs a terminal. Shows each step, asks for deviations, runs the commands of the plan as processes of their own on this terminal, and writes down what happened and when. An interrupted ceremony goes on where it stopped. With --rehearse everything is done in a folder of its own with a key that protects nothing, and its shares are refused everywhere.'
  static override examples = [
    {
      description: 'Practise first',
      command: '<%= config.bin %> ceremony run ceremony-20270131T090000Z-k3v9x0 --rehearse',
    },
    {
      description: 'The ceremony itself',
      command: '<%= config.bin %> ceremony run ceremony-20270131T090000Z-k3v9x0',
    },
    {
      description: 'It will not be finished: write the record of what was done',
      command: '<%= config.bin %> ceremony run ceremony-20270131T090000Z-k3v9x0 --end',
    },
  ]
  static override args = {
    folder: argument({ description: 'what `kvx ceremony plan` wrote', required: true }),
  }
  static override flags = {
    rehearse: Flags.boolean({
      description: 'practise with a key that protects nothing',
      exclusive: ['end'],
      default: false,
    }),
    end: Flags.boolean({ description: 'write the record of a ceremony that is not gone on with' }),
    'require-offline': Flags.boolean({ description: 'the preflight stops when an interface has a carrier' }),
    'require-no-swap': Flags.boolean({ description: 'the preflight stops for unencrypted swap' }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.ceremony.run/1', async () => {
      const { args, flags } = await this.parse(CeremonyRun)
      if (!flags['dry-run'] && !canAsk(answersOf(flags))) {
        throw new KvxError('NO_TERMINAL', 'a ceremony is held at a terminal, and there is none', {
          hint: 'Run it at one. To see the steps: `kvx ceremony run FOLDER --dry-run`.',
        })
      }
      const held = await holdCeremony({
        folder: resolve(args.folder),
        config: flags.config,
        home: flags.home,
        rehearse: flags.rehearse,
        end: flags.end,
        requireOffline: flags['require-offline'],
        requireNoSwap: flags['require-no-swap'],
        dryRun: flags['dry-run'],
      })
      const { steps, record, digest, path } = held
      if (record === undefined || digest === undefined) {
        return {
          data: { folder: path, record: null, result: null, rehearsal: flags.rehearse, deviations: [] },
          lines: [...steps, 'dry run: nothing was written'],
        }
      }
      const mark = record.rehearsal ? 'REHEARSAL  ' : ''
      return {
        data: {
          folder: path,
          record: digest,
          result: record.result,
          rehearsal: record.rehearsal,
          deviations: record.deviations,
        },
        lines: [
          `${mark}${record.result}: ${record.events.length} events, ${record.deviations.length} of them deviations`,
          `${mark}SHA-256 of the record, for the printed script:`,
          ...digestLines(digest, `${mark}  `),
          ...(record.rehearsal ? [] : [`Next: kvx ceremony sign ${path} --role ROLE, each person who signs`]),
        ],
      }
    })
  }
}
