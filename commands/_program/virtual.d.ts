declare module 'virtual:commands' {
  export const commands: Readonly<Record<string, () => Promise<{ default: import('@oclif/core').Command.Class }>>>
}

declare module 'virtual:manifest' {
  export const manifest: import('@oclif/core').Interfaces.Manifest
}
