import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../support/cli.ts'

export type Page = { readonly path: string; readonly text: string }

const generated = new Set(['docs/commands.md', 'docs/exit-codes.md'])

/** Everything that people write for operators. */
export function writtenPages(): readonly Page[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`)
  return ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', ...docs]
    .filter((path) => !generated.has(path))
    .sort()
    .map(page)
}

export function page(path: string): Page {
  return { path, text: readFileSync(join(root, path), 'utf8') }
}

export type Block = { readonly language: string; readonly text: string; readonly before: string }

/** Fenced blocks with what stands on the line before them. */
export function blocks({ text }: Page): readonly Block[] {
  return [...text.matchAll(/([^\n]*)\n```(\w*)\n([\s\S]*?)```/g)].map(
    ([, before = '', language = '', block = '']) => ({ language, text: block, before }),
  )
}
