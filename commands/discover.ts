import * as Flags from '@oclif/core/flags'
import { KvxError } from '../src/core/errors.ts'
import { openWorkspace } from '../src/keyring/workspace.ts'
import { discoverAtUrl, type UrlDiscovery } from '../src/migration/discover/at-url.ts'
import type { Discovery } from '../src/migration/discover/find.ts'
import { type FileKey, readKeyFiles } from '../src/migration/discover/key-files.ts'
import { isStoreUrl } from '../src/migration/discover/store-url.ts'
import { discoverInWorkspace } from '../src/migration/discover/workspace-stores.ts'
import { discoverData, discoverLines } from '../src/ui/discover-view.ts'
import { notice } from '../src/platform/notices.ts'
import { manyArguments } from './_program/arguments.ts'
import { KvxCommand, type Outcome } from './_program/kvx-command.ts'
import { progressFlags, withProgress } from './_program/run-flags.ts'

export default class Discover extends KvxCommand {
  static override summary = 'Find values that look sealed and that no envelope declares.'
  static override description = [
    'Looks at every column and member of the configured stores that nothing declares, a sample of each, and tries every version of every key on what looks sealed: prefixes, encodings, JSON, parts with delimiters, parts in several columns, wrapped keys and what they open. For each find it prints a declaration for kvx.yaml. Reads only, and prints no value.',
    'A key that is used through a derivation which the configuration does not name, a legacy cipher, and associated data that is not made of names and short columns are not guessed: such values stand in the report as opening with no known key. `kvx retire` does the same look and refuses while an undeclared find opens under the key.',
    'Ends in 3 when something is not declared, in 0 when nothing is.',
  ].join('\n\n')
  static override examples = [
    { description: 'Everything that the configuration names', command: '<%= config.bin %> discover' },
    {
      description: 'One store, more of it, as JSON',
      command: '<%= config.bin %> discover app --sample 5000 --json',
    },
    {
      description: 'A database that no configuration names yet, with the key that may open it',
      command: '<%= config.bin %> discover sqlite:/srv/app/app.db --key-file /srv/app/keys/app.key',
    },
    {
      description: 'Documents of JSON in a directory',
      command:
        '<%= config.bin %> discover "directory:/srv/app/data?match=**/*.json&format=json" --key-file app.key',
    },
  ]
  static override strict = false
  static override args = {
    store: manyArguments({
      description: 'stores of the configuration, or one place: sqlite:PATH, directory:PATH?match=PATTERN',
      multiple: true,
    }),
  }
  static override flags = {
    ...progressFlags,
    sample: Flags.integer({
      description: 'values of each column to look at',
      default: 200,
      min: 1,
      max: 100_000,
      helpValue: 'N',
    }),
    'key-file': Flags.string({
      description: 'a key to try besides those of the ring; can be given more than once',
      helpValue: 'FILE',
      multiple: true,
      multipleNonGreedy: true,
    }),
  }

  async run(): Promise<void> {
    await this.finish('kvx.discover/1', async () => {
      const { argv, flags } = await this.parse(Discover)
      const names = argv as string[]
      const url = names.find(isStoreUrl)
      if (url !== undefined && names.length > 1) {
        throw new KvxError('USAGE', 'a place stands alone, without other stores', {
          hint: 'Run the command once for each place, or declare them under `stores:`.',
        })
      }
      const keys = await readKeyFiles(flags['key-file'] ?? [])
      try {
        return await withProgress(flags, async (events) => {
          const options = { sample: flags.sample, events }
          const found =
            url === undefined
              ? await this.configured(names, keys, options)
              : await discoverAtUrl(url, { keys, ...options })
          events.end()
          return outcomeOf(found)
        })
      } finally {
        for (const { material } of keys) material.wipe()
      }
    })
  }

  private async configured(
    stores: readonly string[],
    more: readonly FileKey[],
    options: Pick<Parameters<typeof discoverInWorkspace>[1], 'sample' | 'events'>,
  ): Promise<Discovery> {
    const { flags } = await this.parse(Discover)
    const workspace = await openWorkspace(flags)
    const { path, stores: declared } = workspace.config
    if (Object.keys(declared).length === 0) {
      const how = 'Name a place: `kvx discover sqlite:FILE --key-file KEY`.'
      notice('NOTHING_DECLARED', `${path} names no store, so that nothing was looked at. ${how}`)
    }
    return await discoverInWorkspace(workspace, { stores, more, ...options })
  }
}

function outcomeOf(found: Discovery | UrlDiscovery): Outcome {
  const configuration = 'configuration' in found ? found.configuration : undefined
  const { length } = found.finds
  const failure = new KvxError(
    'FINDINGS',
    `${length} ${length === 1 ? 'place holds' : 'places hold'} values that look sealed and that nothing declares`,
    {
      hint:
        configuration === undefined
          ? 'Add the declarations to kvx.yaml, then `kvx verify`.'
          : 'Write the configuration to kvx.yaml, then `kvx init`, `kvx key import NAME`, `kvx verify`.',
    },
  )
  return {
    data: discoverData(found, configuration),
    lines: discoverLines(found, process.stdout, configuration),
    warnings: found.unseen.map(({ store, table, reason }) => ({
      code: 'NOT_LOOKED_AT',
      message: `${table === undefined ? store : `${store} ${JSON.stringify(table)}`} was not looked at: ${reason}`,
    })),
    ...(length === 0 ? {} : { failure }),
  }
}
