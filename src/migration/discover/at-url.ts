import { openStore } from '../../stores/open-store.ts'
import type { Events } from '../events.ts'
import { configurationOf } from './configuration.ts'
import { discover } from './discover.ts'
import type { Discovery } from './find.ts'
import type { FileKey } from './key-files.ts'
import { storeOfUrl } from './store-url.ts'

export type UrlDiscovery = Discovery & {
  /** A whole `kvx.yaml` that declares what was found. */
  readonly configuration: string | undefined
}

/** {@link discover} in a store that no configuration names: only keys from files are tried. */
export async function discoverAtUrl(
  url: string,
  options: { readonly keys: readonly FileKey[]; readonly sample: number; readonly events: Events },
): Promise<UrlDiscovery> {
  const { written, config } = storeOfUrl(url)
  const name = 'app'
  const store = await openStore(name, config)
  try {
    const stores = [{ name, config, store }]
    const found = await discover({ ...options, stores, declared: [], envelopes: [] })
    return { ...found, configuration: configurationOf({ name, written }, options.keys, found.finds) }
  } finally {
    await store.close()
  }
}
