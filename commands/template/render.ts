import { resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { KvxError } from '../../src/core/errors.ts'
import { siteValues } from '../../src/keyring/site-values.ts'
import {
  completeValues,
  fill,
  placeRendered,
  renderTemplate,
  type Values,
} from '../../src/templates/render.ts'
import { findTemplate, type Template } from '../../src/templates/template.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class TemplateRender extends KvxCommand {
  static override summary = 'Write the files of a template; never over a file that holds something else.'
  static override description =
    'Placeholders are filled with what kvx knows of this place (the configuration, the home, the program) and with what --set says. A file that is there and equal stays as it is, so that the command can be repeated; one that differs is exit 2, and nothing is written. Holds and writes no key.'
  static override examples = [
    {
      description: 'The recovery kit, beside the backups of the home',
      command: '<%= config.bin %> template render recovery',
    },
    {
      description: 'Onto a stick that lies in the safe',
      command: '<%= config.bin %> template render recovery --out /media/safe/recovery',
    },
  ]
  static override args = {
    name: argument({ description: 'as `kvx template list` names it', required: true }),
  }
  static override flags = {
    out: Flags.string({ description: 'the folder to write to; its parent must exist', helpValue: 'DIR' }),
    set: Flags.string({
      description: 'a value for a placeholder',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME=VALUE',
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.template.render/1', async () => {
      const { args, flags } = await this.parse(TemplateRender)
      const template = await findTemplate(args.name)
      const known = await siteValues(flags)
      const values = completeValues(template, parseSettings(flags.set ?? []), known)
      const directory = resolve(flags.out ?? outOf(template, { ...defined(known), ...values }))
      const dryRun = flags['dry-run']
      const files = await placeRendered(renderTemplate(template, values), directory, { dryRun })
      return {
        data: { name: template.name, directory, files },
        lines: [
          ...files.map(({ path, state }) => `${said[state]}  ${path}`),
          ...(dryRun
            ? ['dry run: nothing was written']
            : template.next.map((text) => fill(text, { ...values, directory }))),
        ],
      }
    })
  }
}

const said = { written: 'wrote', same: 'is there', missing: 'would write' } as const

/** @throws USAGE for what is not NAME=VALUE */
function parseSettings(settings: readonly string[]): Values {
  return Object.fromEntries(
    settings.map((text) => {
      const at = text.indexOf('=')
      if (at > 0) return [text.slice(0, at), text.slice(at + 1)]
      throw new KvxError('USAGE', 'a setting has the form NAME=VALUE', {
        hint: '`kvx template list` shows the parameters of each template.',
      })
    }),
  )
}

function defined(values: Readonly<Record<string, string | undefined>>): Values {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  )
}

/** @throws USAGE when the place depends on a configuration and there is none */
function outOf(template: Template, values: Values): string {
  const out = fill(template.out ?? template.name, values)
  if (!/@[a-z][a-z0-9-]*@/.test(out)) return out
  throw new KvxError('USAGE', `without a configuration kvx cannot know where ${template.name} goes`, {
    hint: `Name the folder: \`kvx template render ${template.name} --out DIR\`.`,
  })
}
