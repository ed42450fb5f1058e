import * as Flags from '@oclif/core/flags'
import { KvxError } from '../src/core/errors.ts'
import { byVersionRecord } from '../src/migration/census.ts'
import { openSession } from '../src/migration/session.ts'
import { verifyEnvelopes } from '../src/migration/verify.ts'
import { openWorkspace } from '../src/keyring/workspace.ts'
import { censusLine, unreadableLines } from '../src/ui/census-view.ts'
import { manyArguments } from './_program/arguments.ts'
import { KvxCommand } from './_program/kvx-command.ts'
import { workFlags, withProgress } from './_program/run-flags.ts'

export default class Verify extends KvxCommand {
  static override summary = 'Open everything and tell what lies under which version of a key.'
  static override description =
    'Reads every record of the declared envelopes through the whole chain (key, DEK, value) and writes nothing to them. Ends in 3 when a record does not open, lies elsewhere than declared, or names another version than the one that opens it.'
  static override examples = [
    { description: 'Everything that the configuration declares', command: '<%= config.bin %> verify' },
    {
      description: 'One envelope, as JSON for a script',
      command: '<%= config.bin %> verify app.secrets --json',
    },
    {
      description: 'A look at the first 1,000 records of each',
      command: '<%= config.bin %> verify --sample 1000',
    },
  ]
  static override strict = false
  static override args = {
    envelope: manyArguments({
      description: 'envelopes to look at; all of them without a name',
      multiple: true,
    }),
  }
  static override flags = {
    ...workFlags,
    sample: Flags.integer({
      description: 'look at so many records of each envelope only',
      min: 1,
      helpValue: 'N',
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.verify/1', async () => {
      const { argv, flags } = await this.parse(Verify)
      const workspace = await openWorkspace(flags)
      return withProgress(flags, async (events) => {
        const session = await openSession(workspace, { names: argv as string[], exclusive: false })
        try {
          const { censuses, next, findings, warnings } = await verifyEnvelopes(session, {
            events,
            sample: flags.sample,
            dryRun: flags['dry-run'],
          })
          events.end()
          const key = (name: string): string => session.workloads.find((one) => one.name === name)?.key ?? ''
          return {
            data: {
              envelopes: censuses.map((census) => ({
                name: census.envelope,
                records: census.records,
                byVersion: byVersionRecord(key(census.envelope), census),
                unreadable: census.unreadable,
                plaintext: census.plaintext,
                mislabelled: census.mislabelled,
                empty: census.nulls,
                named: census.named,
              })),
            },
            lines: [
              ...censuses.flatMap((census) => [
                censusLine(key(census.envelope), census),
                ...unreadableLines(census),
              ]),
              ...(next === undefined ? [] : [`Next: ${next}`]),
            ],
            warnings,
            ...(findings === undefined
              ? {}
              : { failure: new KvxError('FINDINGS', findings.message, { hint: findings.hint }) }),
          }
        } finally {
          await session.close()
        }
      })
    })
  }
}
