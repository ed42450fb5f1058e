export const purposes = ['kek', 'data', 'vault'] as const

export type KeygenFlags = {
  readonly dir?: string | undefined
  readonly out?: string | undefined
  readonly encoding?: 'raw' | 'base64' | 'base64url' | 'hex' | undefined
  readonly mode?: string | undefined
  readonly owner?: string | undefined
  readonly group?: string | undefined
  readonly reader?: readonly string[] | undefined
  readonly purpose?: (typeof purposes)[number] | undefined
  readonly config?: string | undefined
  readonly home?: string | undefined
  readonly 'dry-run'?: boolean
}
