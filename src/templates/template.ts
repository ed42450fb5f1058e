import { join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { KvxError } from '../core/errors.ts'
import { exists, listDirectory, readFileCapped } from '../platform/files.ts'
import { packaged } from '../platform/packaged.ts'

/**
 * Files that kvx writes for an operator: a folder `templates/NAME/` with the manifest `template.yaml`. In the
 * files, `@word@` is a placeholder where the manifest declares `word`; everything else stays as it is.
 */
export type Template = {
  readonly name: string
  readonly summary: string
  /** Where the files go without `--out`; may hold placeholders. Without it: a new folder of the template's name. */
  readonly out: string | undefined
  readonly parameters: Readonly<Record<string, Parameter>>
  readonly files: readonly TemplateFile[]
  /** What to do with the files, one line each; may hold placeholders. */
  readonly next: readonly string[]
}

export type Parameter = {
  readonly description: string
  /** May hold placeholders of parameters that stand above it. Without one, a value must be given. */
  readonly default: string | undefined
}

export type TemplateFile = {
  /** Below the template's folder, and below the folder that it is written to; names hold no placeholders. */
  readonly path: string
  readonly description: string
  readonly bytes: Buffer
  readonly executable: boolean
}

const word = z.string().regex(/^[a-z][a-z0-9-]{0,31}$/)
const line = z.string().regex(/^[^\n]{1,200}$/)
const file = z.string().regex(/^[A-Za-z0-9][\w@.-]*(\/[A-Za-z0-9][\w@.-]*)*$/)

const manifestSchema = z.strictObject({
  summary: line,
  out: line.optional(),
  parameters: z
    .record(word, z.strictObject({ description: line, default: z.string().optional() }))
    .default({}),
  files: z.record(file, line),
  next: z.array(line).default([]),
})

const manifestName = 'template.yaml'
const maxFileBytes = 262_144

/** All templates of this kvx, by name. Other folders of `templates/` have no manifest. */
export async function listTemplates(): Promise<readonly Template[]> {
  const root = await packaged('templates')
  if (root === undefined) return []
  const templates: Template[] = []
  for (const name of await listDirectory(root)) {
    const folder = join(root, name)
    if (await exists(join(folder, manifestName))) templates.push(await readTemplate(name, folder))
  }
  return templates
}

/** @throws USAGE for a name that no template has, with all of them */
export async function findTemplate(name: string): Promise<Template> {
  const templates = await listTemplates()
  const found = templates.find((template) => template.name === name)
  if (found !== undefined) return found
  const names = templates.map((template) => template.name)
  throw new KvxError('USAGE', `there is no template ${JSON.stringify(name)}`, {
    hint:
      names.length === 0
        ? 'The folder templates is missing: install kvx again.'
        : `There are ${names.join(', ')}. \`kvx template list\` says what each is.`,
    details: { templates: names },
  })
}

async function readTemplate(name: string, folder: string): Promise<Template> {
  const { bytes } = await readFileCapped(join(folder, manifestName), { maxBytes: maxFileBytes })
  const parsed = manifestSchema.safeParse(parse(bytes.toString('utf8')))
  if (!parsed.success) {
    const at = parsed.error.issues[0]?.path.map(String).join('.') ?? ''
    throw new KvxError('DAMAGED', `the template ${name} is not as it was made: its manifest, at ${at}`, {
      hint: 'Install kvx again.',
    })
  }
  const { summary, out, parameters, files, next } = parsed.data
  return {
    name,
    summary,
    out,
    parameters: Object.fromEntries(
      Object.entries(parameters).map(([key, one]) => [
        key,
        { description: one.description, default: one.default },
      ]),
    ),
    files: await Promise.all(
      Object.entries(files).map(async ([path, description]) => readOne(folder, path, description)),
    ),
    next,
  }
}

async function readOne(folder: string, path: string, description: string): Promise<TemplateFile> {
  const { bytes, facts } = await readFileCapped(join(folder, path), { maxBytes: maxFileBytes })
  return { path, description, bytes, executable: (facts.mode & 0o100) !== 0 }
}
