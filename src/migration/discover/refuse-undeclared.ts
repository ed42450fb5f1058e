import { KvxError } from '../../core/errors.ts'
import type { Workspace } from '../../keyring/workspace.ts'
import { notice } from '../../platform/notices.ts'
import type { Events } from '../events.ts'
import type { Find } from './find.ts'
import { discoverInWorkspace } from './workspace-stores.ts'

/** Values of each column that a gate looks at. */
const gateSample = 1000

/**
 * The gate's look at what nobody declared. A find under any version of the key refuses: a sample opens under one
 * of them, and nothing is proven about the others. What could not be looked at is told.
 * @throws VALUES_REMAIN with the places; the way on is to declare them
 */
export async function refuseUndeclared(
  workspace: Pick<Workspace, 'config' | 'home'>,
  { name, version, events }: { readonly name: string; readonly version: number; readonly events: Events },
): Promise<void> {
  const { finds, unseen } = await discoverInWorkspace(workspace, {
    stores: [],
    keys: [name],
    sample: gateSample,
    events,
  })
  for (const { store, table, reason } of unseen) {
    const place = table === undefined ? `store ${store}` : `${store} ${JSON.stringify(table)}`
    notice('NOT_LOOKED_AT', `${place} was not searched for undeclared values: ${reason}`)
  }
  const opening = finds.filter(({ opens, level }) => level !== 'below' && Object.keys(opens).length > 0)
  if (opening.length === 0) return
  const subject = `${name}@${version}`
  throw new KvxError(
    'VALUES_REMAIN',
    `values that nothing declares open under ${name}: ${opening.map(placeOf).join('; ')}; nothing is proven about ${subject}, and the key is untouched`,
    {
      hint: `\`kvx discover\` prints their declarations. Add them to kvx.yaml, move them with \`kvx rewrap\` or \`kvx reencrypt\`, then run this again.`,
      details: { subject, undeclared: opening.map(placeOf) },
    },
  )
}

function placeOf({ store, table, columns, opens }: Find): string {
  const versions = Object.keys(opens).join(', ')
  return `${store} ${JSON.stringify(table)} ${columns.map((column) => JSON.stringify(column)).join(' + ')} (${versions})`
}
