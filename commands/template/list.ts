import { listTemplates } from '../../src/templates/template.ts'
import { templateLines } from '../../src/ui/template-view.ts'
import { KvxCommand } from '../_program/kvx-command.ts'

export default class TemplateList extends KvxCommand {
  static override summary =
    'What kvx can write for you: files for a service manager, a recovery kit and the like.'
  static override description =
    'Each template is a folder of files with placeholders. The profiles of applications are listed by `kvx init --list-profiles`.'
  static override examples = [
    { description: 'All templates', command: '<%= config.bin %> template list' },
    { description: 'With files and parameters', command: '<%= config.bin %> template list --json' },
  ]
  protected override readonly holdsKeys = false

  async run(): Promise<void> {
    await this.finish('kvx.template.list/1', async () => {
      await this.parse(TemplateList)
      const templates = await listTemplates()
      return {
        data: {
          templates: templates.map(({ name, summary, parameters, files }) => ({
            name,
            summary,
            parameters: Object.entries(parameters).map(([key, one]) => ({
              name: key,
              description: one.description,
              default: one.default ?? null,
            })),
            files: files.map(({ path, description }) => ({ path, description })),
          })),
        },
        lines: templateLines(templates),
      }
    })
  }
}
