import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * Where a connection is cut: the COMMIT never leaves, it is sent and nobody waits, or the server's answer to it is
 * kept back.
 */
export type Cut = 'before COMMIT' | 'when COMMIT is sent' | 'after COMMIT was answered'

/** Passes a PostgreSQL server's socket on, and cuts the connection at one COMMIT. */
export class CuttingProxy {
  readonly folder = mkdtempSync(join(tmpdir(), 'kvx-proxy-'))
  /** COMMITs that came by since the last `arm`. */
  commits = 0
  private armed: { readonly at: number; readonly cut: Cut } | undefined
  private readonly target: string
  private readonly server = createServer((client) => this.pass(client))
  private readonly open = new Set<Socket>()

  /** @param socket the folder of the server's socket */
  constructor(socket: string) {
    this.target = join(socket, '.s.PGSQL.5432')
  }

  async listen(): Promise<this> {
    await new Promise<void>((done) => this.server.listen(join(this.folder, '.s.PGSQL.5432'), done))
    return this
  }

  /** Cuts at the `at`-th COMMIT from now on, counted from 1; without it nothing is cut. */
  arm(at?: number, cut: Cut = 'before COMMIT'): void {
    this.commits = 0
    this.armed = at === undefined ? undefined : { at, cut }
  }

  async close(): Promise<void> {
    for (const socket of this.open) socket.destroy()
    await new Promise((done) => this.server.close(done))
    rmSync(this.folder, { recursive: true, force: true })
  }

  private pass(client: Socket): void {
    const server = createConnection(this.target)
    let keepBack = false
    const end = (): void => {
      client.destroy()
      server.destroy()
    }
    for (const socket of [client, server]) {
      this.open.add(socket)
      socket.on('error', end)
      socket.on('close', () => this.open.delete(socket))
    }
    client.on('end', () => server.end())
    server.on('end', () => client.end())
    server.on('data', (bytes: Buffer) => (keepBack ? end() : client.write(bytes)))
    client.on('data', (bytes: Buffer) => {
      const cut = bytes.includes('COMMIT\0') ? this.next() : undefined
      if (cut === 'before COMMIT') return end()
      keepBack = cut === 'after COMMIT was answered'
      server.write(bytes, () => {
        if (cut === 'when COMMIT is sent') end()
      })
    })
  }

  private next(): Cut | undefined {
    this.commits++
    return this.commits === this.armed?.at ? this.armed.cut : undefined
  }
}
