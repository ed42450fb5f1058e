declare module 'virtual:commands' {
  import type { KvxCommand } from './kvx-command.ts'
  type CommandClass = new (argv: readonly string[]) => KvxCommand
  export const commands: Readonly<Record<string, () => Promise<{ default: CommandClass }>>>
}

declare module 'virtual:manifest' {
  import type { Interfaces } from '@oclif/core'
  export const manifest: Interfaces.Manifest
}

declare module 'virtual:summaries' {
  export const summaries: Readonly<Record<string, string>>
}
