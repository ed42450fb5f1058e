import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { credentials, S3Application, type S3Site } from './s3-application.ts'

const run = promisify(execFile)

/** Debian's Ceph gateway on a cluster of its own: one monitor and one store in memory, on loopback alone. */
export type CephGateway = {
  /** A new empty bucket. */
  createBucket(): Promise<S3Site>
  stop(): Promise<void>
}

const programs = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin', 'ceph', 'monmaptool', 'ceph-authtool']

/** Why there can be no gateway here, or undefined. */
export function cephMissing(): string | undefined {
  if (process.env['KVX_SLOW'] !== '1') return 'needs KVX_SLOW=1: a cluster takes 100 MB of packages and 20 s'
  return programs.every((program) => existsSync(`/usr/bin/${program}`))
    ? undefined
    : 'needs radosgw, ceph-mon and ceph-osd: `KVX_SLOW=1 npm run setup -- --for test`'
}

/** @param page keys a page of a listing */
export async function startCeph(page = 1000): Promise<CephGateway> {
  const folder = mkdtempSync(join(tmpdir(), 'kvx-ceph-'))
  const config = join(folder, 'ceph.conf')
  const [monitor, port] = [await freePort(), await freePort()]
  const children: ChildProcess[] = []
  // They end with this process, however it ends.
  const start = (program: string, ...args: readonly string[]): void => {
    const words = ['--pdeathsig', 'KILL', program, '-c', config, '-f', ...args]
    children.push(spawn('/usr/bin/setpriv', words, { cwd: folder, stdio: 'ignore' }))
  }
  const call = async (program: string, ...args: readonly string[]): Promise<void> => {
    await run(program, ['-c', config, ...args], { cwd: folder, timeout: 120_000 })
  }
  const stop = async (): Promise<void> => {
    for (const child of children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    layOut(folder, { monitor, page })
    const id = randomUUID()
    await call('ceph-mon', '--mkfs', '-i', 'a', '--monmap', 'monmap', '--keyring', 'keyring')
    start('ceph-mon', '-i', 'a')
    await call('ceph', 'osd', 'new', id)
    await call('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', id)
    start('ceph-osd', '-i', '0')
    const { accessKeyId, secretAccessKey } = credentials
    const user = ['--uid', 'app', '--display-name', 'app']
    const pair = ['--access-key', accessKeyId, '--secret', secretAccessKey]
    await call('radosgw-admin', 'user', 'create', ...user, ...pair)
    // Without the option each short answer waits 40 ms for an acknowledgement.
    const frontend = `beast endpoint=127.0.0.1:${port} tcp_nodelay=1`
    start('radosgw', '-n', 'client.admin', '--rgw-frontends', frontend)
    const endpoint = `http://127.0.0.1:${port}`
    await untilReady(endpoint, children)
    let buckets = 0
    const createBucket = async (): Promise<S3Site> => {
      const site = { endpoint, bucket: `app${++buckets}` }
      const { status } = await new S3Application(site).send('PUT', '')
      if (status !== 200) throw new Error(`the gateway made no bucket: ${status}`)
      return site
    }
    return { createBucket, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The configuration, the keys and the map of monitors. The gateway insists on cephx. */
function layOut(folder: string, { monitor, page }: { monitor: number; page: number }): void {
  for (const name of ['mon', 'osd', 'rgw']) mkdirSync(join(folder, name))
  const cluster = randomUUID()
  const lines = [
    '[global]',
    `fsid = ${cluster}`,
    `mon host = v2:127.0.0.1:${monitor}/0`,
    ...['public addr = 127.0.0.1', 'cluster addr = 127.0.0.1', 'ms bind ipv6 = false'],
    `keyring = ${folder}/keyring`,
    ...['mon', 'osd', 'rgw'].map((name) => `${name} data = ${folder}/${name}`),
    ...[`run dir = ${folder}`, `admin socket = ${folder}/$name.asok`, `log file = ${folder}/$name.log`],
    ...['osd objectstore = memstore', 'memstore device bytes = 2147483648'],
    ...['osd pool default size = 1', 'osd pool default min size = 1', 'mon allow pool size one = true'],
    ...['osd pool default pg num = 4', 'osd pool default pgp num = 4', 'osd crush chooseleaf type = 0'],
    ...['mon data avail crit = 0', 'mon data avail warn = 0'],
    ...['rgw enable gc threads = false', 'rgw enable lc threads = false', 'rgw run sync thread = false'],
    ...['rgw override bucket index max shards = 1', 'rgw dynamic resharding = false'],
    `rgw max listing results = ${page}`,
  ]
  writeFileSync(join(folder, 'ceph.conf'), `${lines.join('\n')}\n`)
  const tool = (program: string, ...args: readonly string[]): void => {
    execFileSync(program, args, { cwd: folder, stdio: 'ignore' })
  }
  const all = ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *']
  tool('ceph-authtool', '--create-keyring', 'keyring', '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *')
  tool('ceph-authtool', 'keyring', '--gen-key', '-n', 'client.admin', ...all)
  tool('ceph-authtool', 'keyring', '--gen-key', '-n', 'osd.0', ...all)
  const address = `[v2:127.0.0.1:${monitor}]`
  tool('monmaptool', '--create', '--addv', 'a', address, '--fsid', cluster, 'monmap')
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

async function untilReady(endpoint: string, children: readonly ChildProcess[]): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const ended = children.find(({ exitCode }) => exitCode !== null)
    if (ended !== undefined) throw new Error(`${ended.spawnargs.join(' ')} ended with ${ended.exitCode}`)
    const answer = await fetch(endpoint).catch(() => undefined)
    if (answer?.ok === true) return
    await sleep(100)
  }
  throw new Error('the gateway did not start')
}
