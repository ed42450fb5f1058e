import { join, resolve } from 'node:path'
import * as Flags from '@oclif/core/flags'
import { digestLines } from '../../src/ceremony/digest.ts'
import { ceremonyFolder, writePlan } from '../../src/ceremony/folder.ts'
import { ceremonyKinds, makePlan, type Person } from '../../src/ceremony/plan.ts'
import { programDigest } from '../../src/ceremony/site.ts'
import { newCeremonyId } from '../../src/backup/shares/ceremony-id.ts'
import { KvxError } from '../../src/core/errors.ts'
import { configIfThere } from '../../src/keyring/site-values.ts'
import { configuredKey } from '../../src/keyring/workspace.ts'
import { isoNow } from '../../src/platform/clock.ts'
import { kvxVersion } from '../../src/version.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class CeremonyPlan extends KvxCommand {
  static override summary =
    'Write the script of a ceremony: numbered steps, roles, expected values, room for initials.'
  static override description =
    `Kinds: ${ceremonyKinds.join(', ')}. Writes a folder with plan.yaml, which is what is agreed on, and plan.md, which is printed. Custodians are those of the configuration unless told. --from takes an outline of your own; those of kvx lie in templates/ceremony.`
  static override examples = [
    {
      description: 'A first key, for the custodians of kvx.yaml',
      command:
        "<%= config.bin %> ceremony plan key-generation master --role 'administrator=A. Boole' --role 'witness=E. Noether=D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00'",
    },
    {
      description: 'Into a folder of your choice',
      command: '<%= config.bin %> ceremony plan rotation master --out /media/usb/rotation-2027',
    },
  ]
  static override args = {
    kind: argument({
      description: `${ceremonyKinds.join(', ')}, or a word of your own with --from`,
      required: true,
    }),
    name: argument({ description: 'the key that it is about', required: true }),
  }
  static override flags = {
    out: Flags.string({ description: 'the new folder; ceremony-ID here unless told', helpValue: 'DIR' }),
    role: Flags.string({
      description: 'who has a role, with the OpenPGP fingerprint if they sign with one; repeat it',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'ROLE=NAME[=FPR]',
    }),
    custodian: Flags.string({
      description: 'a custodian, in the order of the shares; those of the configuration unless told',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME[=FPR]',
    }),
    from: Flags.string({ description: 'an outline of your own', helpValue: 'FILE' }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.ceremony.plan/1', async () => {
      const { args, flags } = await this.parse(CeremonyPlan)
      const config = await configIfThere(flags)
      const { id, nonce } = newCeremonyId()
      const custodians = (flags.custodian ?? []).map(parsePerson)
      const known = (config && configuredKey(config, args.name))?.backup?.shares?.custodians ?? []
      const made = await makePlan({
        kind: args.kind,
        key: args.name,
        id,
        nonce,
        created: isoNow(),
        kvx: { version: kvxVersion, sha256: await programDigest() },
        people: Object.fromEntries((flags.role ?? []).map(parseRole)),
        custodians:
          custodians.length > 0
            ? custodians
            : known.map(({ name, openpgp }) => ({ name, openpgp: openpgp?.toUpperCase() ?? null })),
        outline: flags.from === undefined ? undefined : resolve(flags.from),
      })
      const path = resolve(flags.out ?? join('.', `ceremony-${id}`))
      const folder = ceremonyFolder(path)
      if (flags['dry-run']) {
        const titles = made.steps.map(({ title }, at) => `${String(at + 1).padStart(3)}  ${title}`)
        return {
          data: planData(made, path, null),
          lines: [made.title, ...titles, 'dry run: nothing was written'],
        }
      }
      const { digest } = await writePlan(path, made)
      return {
        data: planData(made, path, digest),
        lines: [
          `wrote  ${folder.plan}`,
          `print  ${folder.script}`,
          'SHA-256 of the plan:',
          ...digestLines(digest),
          `Next: kvx ceremony run ${path} --rehearse`,
        ],
      }
    })
  }
}

function planData(
  made: Awaited<ReturnType<typeof makePlan>>,
  path: string,
  digest: { readonly sha256: string; readonly words: string } | null,
): object {
  return {
    ceremony: made.id,
    kind: made.kind,
    folder: path,
    steps: made.steps.length,
    roles: made.roles.map(({ role, name }) => ({ role, name })),
    plan: digest,
  }
}

function parseRole(text: string): readonly [string, Person] {
  const [role = '', ...rest] = text.split('=')
  return [role, parsePerson(rest.join('='))]
}

/** @throws USAGE */
function parsePerson(text: string): Person {
  const [name = '', openpgp] = text.split('=').map((part) => part.trim())
  const plain = openpgp?.replaceAll(/\s/g, '').toUpperCase()
  if (name !== '' && (plain === undefined || /^[0-9A-F]{40}$/.test(plain)))
    return { name, openpgp: plain ?? null }
  throw new KvxError('USAGE', 'a person is NAME or NAME=FINGERPRINT, with the 40 digits of an OpenPGP key', {
    hint: "For example `--role 'witness=E. Noether'`.",
  })
}
