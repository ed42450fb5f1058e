import { readPlanFile } from '../../src/approvals/plan-file.ts'
import { loadConfig } from '../../src/config/config.ts'
import { isKvxError } from '../../src/core/errors.ts'
import { readApprovals } from '../../src/migration/apply-plan.ts'
import { approvalData, approvalLines, planFileLines } from '../../src/ui/plan-view.ts'
import { argument } from '../_program/arguments.ts'
import { KvxCommand } from '../_program/kvx-command.ts'
import { approvalFlag } from '../_program/plan-command.ts'

export default class PlanShow extends KvxCommand {
  static override summary = 'Show what a plan would do, and who has approved it.'
  static override description =
    'Needs neither the home nor a configuration to show the plan. Where a kvx.yaml is at hand, the signatures beside the plan (names that begin with its name and end in .asc or .sig) are judged by its policy.'
  static override examples = [
    { description: 'Before approving it', command: '<%= config.bin %> plan show plan.json' },
    {
      description: 'With a signature from elsewhere',
      command: '<%= config.bin %> plan show plan.json --approval /media/stick/boole.asc',
    },
  ]
  static override args = { plan: argument({ description: 'the file of the plan', required: true }) }
  static override flags = approvalFlag
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.plan.show/1', async () => {
      const { args, flags } = await this.parse(PlanShow)
      const file = await readPlanFile(args.plan)
      const shown = { digest: file.digest, plan: file.plan }
      const config = await loadConfig(flags).catch((error: unknown) => {
        if (isKvxError(error, 'CONFIG_NOT_FOUND') && flags.config === undefined) return undefined
        throw error
      })
      if (config === undefined) {
        return {
          data: { ...shown, approvals: null },
          lines: [...planFileLines(file), 'no kvx.yaml is at hand, so that nothing is said of approvals'],
        }
      }
      const { approvals } = await readApprovals(config, args.plan, flags.approval ?? [])
      return {
        data: { ...shown, approvals: approvalData(approvals, approvals.required) },
        lines: [...planFileLines(file), ...approvalLines(approvals, approvals.required)],
      }
    })
  }
}
