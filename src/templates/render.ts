import { dirname, join } from 'node:path'
import { KvxError } from '../core/errors.ts'
import { createFile } from '../platform/create-file.ts'
import { shownPath } from '../platform/file-errors.ts'
import { exists, makeDirectory, readFileCapped } from '../platform/files.ts'
import type { Template } from './template.ts'

/** Values of placeholders by name. */
export type Values = Readonly<Record<string, string>>

export type Rendered = {
  readonly path: string
  readonly bytes: Buffer
  readonly mode: number
}

const placeholder = /@([a-z][a-z0-9-]*)@/g
// Values land in unit files, YAML and shell scripts, mostly between quotes: these signs could end them.
const plain = /^[^\p{Cc}"'`\\$]{1,500}$/u

/**
 * The value of every parameter: given by the operator, known to kvx, or the default, in this order.
 * @throws USAGE for an unknown name, a value that is missing, or one that could break the file that it lands in
 */
export function completeValues(
  template: Template,
  given: Values,
  known: Readonly<Record<string, string | undefined>>,
): Values {
  const { parameters, name } = template
  const unknown = Object.keys(given).find((key) => !Object.hasOwn(parameters, key))
  if (unknown !== undefined) {
    throw new KvxError('USAGE', `the template ${name} has no parameter ${JSON.stringify(unknown)}`, {
      hint: `It has ${Object.keys(parameters).join(', ') || 'none'}: \`kvx template list\`.`,
    })
  }
  const values: Record<string, string> = {}
  for (const [key, parameter] of Object.entries(parameters)) {
    const fallback = parameter.default === undefined ? undefined : fill(parameter.default, values)
    const value = given[key] ?? known[key] ?? fallback
    if (value === undefined) {
      throw new KvxError('USAGE', `the template ${name} needs a value for ${key}: ${parameter.description}`, {
        hint: `Give it: \`kvx template render ${name} --set ${key}=VALUE\`.`,
      })
    }
    if (!plain.test(value)) {
      throw new KvxError('USAGE', `the value of ${key} does not fit into a file of the template ${name}`, {
        hint: 'A value is one line without quotes, backslashes, backticks and dollar signs.',
      })
    }
    values[key] = value
  }
  return values
}

/** Puts values in the place of placeholders; `@word@` without a value stays as it is. */
export function fill(text: string, values: Values): string {
  return text.replaceAll(placeholder, (whole, name: string) =>
    Object.hasOwn(values, name) ? (values[name] ?? whole) : whole,
  )
}

export function renderTemplate(template: Template, values: Values): readonly Rendered[] {
  return template.files.map(({ path, bytes, executable }) => ({
    path,
    bytes: Buffer.from(fill(bytes.toString('utf8'), values)),
    mode: executable ? 0o755 : 0o644,
  }))
}

/** `same`: it was there with these bytes. `missing`: a dry run would have written it. */
export type Placed = { readonly path: string; readonly state: 'written' | 'same' | 'missing' }

/**
 * Writes the files below `directory`, which is made where it is missing; its parent must exist. A file that is
 * there with these very bytes stays as it is, so that the command can be repeated.
 * @throws TARGET_EXISTS when one of them holds something else: nothing is written then
 */
export async function placeRendered(
  files: readonly Rendered[],
  directory: string,
  options: { readonly dryRun: boolean },
): Promise<readonly Placed[]> {
  const missing: Rendered[] = []
  for (const one of files) if (!(await holds(join(directory, one.path), one.bytes))) missing.push(one)
  if (!options.dryRun) await writeAll(missing, directory)
  return files.map((one) => ({
    path: join(directory, one.path),
    state: !missing.includes(one) ? 'same' : options.dryRun ? 'missing' : 'written',
  }))
}

async function writeAll(files: readonly Rendered[], directory: string): Promise<void> {
  await makeDirectory(directory, 0o755)
  for (const { path, bytes, mode } of files) {
    await makeFolders(directory, dirname(path))
    await createFile(join(directory, path), bytes, { mode })
  }
}

async function makeFolders(directory: string, below: string): Promise<void> {
  if (below === '.') return
  await makeFolders(directory, dirname(below))
  await makeDirectory(join(directory, below), 0o755)
}

/** @throws TARGET_EXISTS for other bytes */
async function holds(path: string, bytes: Buffer): Promise<boolean> {
  if (!(await exists(path))) return false
  const found = await readFileCapped(path, { maxBytes: 1_048_576 })
  if (found.bytes.equals(bytes)) return true
  throw new KvxError('TARGET_EXISTS', `${shownPath(path)} exists already and holds something else`, {
    hint: 'It is never overwritten: move it away, or write to another folder with `--out DIR`. Nothing was written.',
  })
}
