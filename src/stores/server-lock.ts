/** What keeps other runs away from a database server. It ends with the process, however that ends. */
export type ServerLock = {
  /** @throws STORE_UNAVAILABLE when the server or the network ended it */
  requireHeld(): void
  /** Gives the lock back. May be called more than once. */
  release(): void
}
