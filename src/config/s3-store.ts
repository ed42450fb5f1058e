import { z } from 'zod'
import { locateSource, secretSource, type SecretSource } from './secret-source.ts'

/** What `stores:` of `kvx.yaml` may say of a bucket. */

/** Half of a key pair; a literal one is refused. */
const credential = secretSource.refine(
  (source) => typeof source !== 'string' || /^\$\{[A-Za-z_][A-Za-z0-9_]*\}$/.test(source),
  'a credential stands in the file: put it into a variable and write its name in ${}, or say { file: … }',
)

export const s3Store = z.strictObject({
  s3: z.strictObject({
    endpoint: z
      .string()
      .regex(/^https?:\/\/[^/?#@\s]+\/?$/, 'an endpoint is https://HOST, without a path or a user'),
    bucket: z.string().regex(/^[A-Za-z0-9._-]{3,255}$/, 'not a name of a bucket'),
    /** What every key begins with, with its last slash. */
    prefix: z.string().default(''),
    region: z
      .string()
      .regex(/^[a-z0-9-]+$/, 'not a name of a region')
      .default('us-east-1'),
    'access-key-id': credential,
    'secret-access-key': credential,
  }),
  /** Keys below the prefix that are the store's, as files below a directory. */
  match: z.string().min(1).default('**'),
  /** One value an object, or one document of JSON. */
  format: z.enum(['file', 'json']).default('file'),
})

export type S3Config = z.output<typeof s3Store>['s3']

/** The same with absolute paths. */
export function locateS3(s3: S3Config, absolute: (path: string) => string): S3Config {
  const located = (source: SecretSource): SecretSource => locateSource(source, absolute)
  return {
    ...s3,
    'access-key-id': located(s3['access-key-id']),
    'secret-access-key': located(s3['secret-access-key']),
  }
}

/** Where it lies, without a secret. */
export function s3Place({ endpoint, bucket, prefix }: S3Config): string {
  return `s3://${new URL(endpoint).host}/${bucket}/${prefix}`
}
