import type { Template } from '../templates/template.ts'
import { columns } from './columns.ts'

export function templateLines(templates: readonly Template[]): readonly string[] {
  return templates.flatMap(({ name, summary, parameters, files }) => [
    `${name}  ${summary}`,
    ...columns(
      files.map(({ path, description }) => [path, description]),
      '    ',
    ),
    ...columns(
      Object.entries(parameters).map(([key, one]) => [
        `--set ${key}=`,
        one.default === undefined ? one.description : `${one.description} (${one.default})`,
      ]),
      '    ',
    ),
  ])
}
