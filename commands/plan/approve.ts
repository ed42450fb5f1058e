import * as Flags from '@oclif/core/flags'
import { readPlanFile } from '../../src/approvals/plan-file.ts'
import type { SigningWith } from '../../src/approvals/detached-signature.ts'
import { signPlan } from '../../src/approvals/sign-plan.ts'
import { KvxError } from '../../src/core/errors.ts'
import { planFileLines } from '../../src/ui/plan-view.ts'
import { canAsk, confirmStep } from '../../src/ui/prompts.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { answersOf } from '../_program/run-flags.ts'

export default class PlanApprove extends KvxCommand {
  static override summary = 'Read a plan and sign it, with OpenPGP or SSH.'
  static override description =
    'For an approver, on any machine: needs neither home nor configuration. gpg or ssh-keygen makes the signature, also with an agent, a card or a security key; it lies beside the plan and goes back with it. Without kvx: `gpg --armor --detach-sign --output plan.json.me.asc plan.json`, or `ssh-keygen -Y sign -f KEY -n kvx-plan < plan.json > plan.json.me.sig`.'
  static override examples = [
    {
      description: 'With an OpenPGP key',
      command: '<%= config.bin %> plan approve plan.json --openpgp D2FF8AE2A19FE2B1C9B9D8A4B1B9B6E0C0FFEE00',
    },
    {
      description: 'With an SSH key',
      command: '<%= config.bin %> plan approve plan.json --ssh-key ~/.ssh/id_ed25519',
    },
  ]
  static override args = { plan: argument({ description: 'the file of the plan', required: true }) }
  static override flags = {
    openpgp: Flags.string({
      description: 'fingerprint of your OpenPGP key, 40 hex digits',
      helpValue: 'FPR',
      exactlyOne: ['openpgp', 'ssh-key'],
    }),
    'ssh-key': Flags.string({
      description: 'file of your SSH key, or of its public half where an agent has it',
      helpValue: 'FILE',
    }),
  }
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.plan.approve/1', async () => {
      const { args, flags } = await this.parse(PlanApprove)
      const signing = signingWith(flags)
      const plan = await readPlanFile(args.plan)
      const shown = planFileLines(plan)
      if (flags['dry-run']) {
        return {
          data: { digest: plan.digest, file: null, fingerprint: null },
          lines: [...shown, 'dry run: nothing was signed'],
        }
      }
      if (!flags.json && !flags.quiet) process.stderr.write(`${shown.join('\n')}\n`)
      const answers = answersOf(flags)
      await confirmStep('Approve this?', answers)
      const interactive = canAsk(answers) || process.env['DISPLAY'] !== undefined
      const { file, fingerprint } = await signPlan(plan, args.plan, signing, interactive)
      return {
        data: { digest: plan.digest, file, fingerprint },
        lines: [`signed by ${fingerprint}`, `wrote  ${file}`, 'Give this file back with the plan.'],
      }
    })
  }
}

function signingWith(flags: {
  readonly openpgp: string | undefined
  readonly 'ssh-key': string | undefined
}): SigningWith {
  const keyFile = flags['ssh-key']
  if (keyFile !== undefined) return { kind: 'ssh', keyFile }
  const fingerprint = (flags.openpgp ?? '').replaceAll(/\s/g, '').toUpperCase()
  if (/^[0-9A-F]{40}$/.test(fingerprint)) return { kind: 'openpgp', fingerprint }
  throw new KvxError('USAGE', 'an OpenPGP fingerprint has 40 hex digits', {
    hint: 'Take it from `gpg --list-secret-keys --with-fingerprint`.',
  })
}
