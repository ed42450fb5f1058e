declare module 'virtual:commands' {
  import type { Command } from '@oclif/core'
  export const commands: Readonly<Record<string, () => Promise<{ default: Command.Class }>>>
}

declare module 'virtual:manifest' {
  import type { Interfaces } from '@oclif/core'
  export const manifest: Interfaces.Manifest
}
