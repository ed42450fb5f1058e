import { type ErrorOptions, KvxError } from '../core/errors.ts'

/** What the drivers of database servers say in the same words. */

/** The store that an error is about: its name in the configuration and where it lies, without credentials. */
export type ServerTarget = { readonly name: string; readonly place: string }

/** How an operator names the store: `store app (db.example:5432/app)`. */
export function describeTarget({ name, place }: ServerTarget): string {
  return `store ${name} (${place})`
}

/** A name of the schema in a message: control characters are escaped. */
export function shown(name: string): string {
  return JSON.stringify(name)
}

/** A refusal about the shape of a store: a table, a column, an id. */
export function shapeError(target: ServerTarget, what: string, options: ErrorOptions = {}): KvxError {
  return new KvxError('STORE_SHAPE', `${describeTarget(target)}: ${what}`, options)
}

export const reachable = 'check that the server runs and that this machine reaches it'

/** Why there is no connection, and what to do, by the code that Node gives. */
export const networkFaults: Readonly<Record<string, readonly [what: string, hint: string]>> = {
  ECONNREFUSED: ['does not accept connections', reachable],
  ENOENT: ['has no socket there', reachable],
  EACCES: ['cannot be reached: this user may not use its socket', reachable],
  ENOTFOUND: ['has a host name that is not known', 'correct the host of the URL'],
  EAI_AGAIN: ['has a host name that could not be looked up', 'check the name service of this machine'],
  EHOSTUNREACH: ['cannot be reached', reachable],
  ENETUNREACH: ['cannot be reached', reachable],
  ETIMEDOUT: ['did not answer in time', reachable],
}

/** The answer to a COMMIT never came. */
export function unknownOutcome(target: ServerTarget): KvxError {
  return new KvxError(
    'STORE_UNAVAILABLE',
    `${describeTarget(target)} ended the connection while it committed: the batch may be written or not`,
    {
      hint: 'Nothing is lost either way: `kvx run resume` asks each record which key opens it.',
      details: { outcome: 'unknown' },
    },
  )
}
