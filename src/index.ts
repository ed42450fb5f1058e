/** The public library: vaults of kvx in an application. The command line is the program `kvx`. */
export { createKeyProvider, createTestKeyProvider } from './vault/key-provider.ts'
export { createStore } from './vault/store.ts'
export type { KeyProvider, KeyProviderOptions } from './vault/key-provider.ts'
export type { JsonValue, Store, StoreOptions, VaultListing } from './vault/store.ts'
export type { ErrorCode, KvxError } from './core/errors.ts'
