import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

type Message = {
  readonly id?: number
  readonly sessionId?: string
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

const patienceMs = 30_000

/** One page in a headless Chromium of Debian, driven over the DevTools protocol. Nothing is installed from npm for it. */
export class Browser {
  readonly #process: ChildProcess
  readonly #folder: string
  readonly #socket: WebSocket
  readonly #waiting = new Map<number, (message: Message) => void>()
  readonly #listeners = new Set<(message: Message) => void>()
  #session: string | undefined
  #count = 0
  /** Addresses that the page asked for. */
  readonly requests: string[] = []

  private constructor(process: ChildProcess, folder: string, socket: WebSocket) {
    this.#process = process
    this.#folder = folder
    this.#socket = socket
    socket.addEventListener('message', ({ data }) => {
      const message = JSON.parse(String(data)) as Message
      if (message.id !== undefined) this.#waiting.get(message.id)?.(message)
      if (message.method === 'Network.requestWillBeSent') {
        this.requests.push((message.params?.['request'] as { url: string } | undefined)?.url ?? '')
      }
      for (const listener of this.#listeners) listener(message)
    })
  }

  static async start(): Promise<Browser> {
    const folder = mkdtempSync(join(tmpdir(), 'kvx-browser-'))
    const child = spawn(
      '/usr/bin/chromium',
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--no-first-run',
        '--disable-background-networking',
        '--remote-debugging-port=0',
        `--user-data-dir=${folder}/profile`,
        'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, HOME: folder } },
    )
    const address = await new Promise<string>((done, fail) => {
      let said = ''
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        said += text
        const found = /DevTools listening on (ws:\S+)/.exec(said)
        if (found?.[1] !== undefined) done(found[1])
      })
      child.on('exit', () => fail(new Error(`chromium ended\n${said}`)))
    })
    const socket = new WebSocket(address)
    await new Promise<void>((done, fail) => {
      socket.addEventListener('open', () => done())
      socket.addEventListener('error', () => fail(new Error('chromium does not answer')))
    })
    return new Browser(child, folder, socket)
  }

  /** Opens an address in a fresh page and waits until it is loaded. */
  async open(url: string): Promise<void> {
    this.#session = undefined
    const { targetId } = await this.#send('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.#send('Target.attachToTarget', { targetId, flatten: true })
    this.#session = String(sessionId)
    this.requests.splice(0)
    await this.#send('Network.enable')
    await this.#send('Page.enable')
    const loaded = this.#event('Page.loadEventFired')
    await this.#send('Page.navigate', { url })
    await loaded
  }

  /** The value of an expression in the page; a promise is awaited. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.#send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails))
    return (result as { value: T }).value
  }

  /** Types into the element of this id, as a person would: its events are the real ones. */
  async type(id: string, text: string): Promise<void> {
    await this.evaluate(`document.getElementById('${id}').focus()`)
    await this.#send('Input.insertText', { text })
  }

  async press(id: string): Promise<void> {
    await this.evaluate(`document.getElementById('${id}').click()`)
  }

  async text(id: string): Promise<string> {
    return this.evaluate(`document.getElementById('${id}').innerText`)
  }

  /** Lets `act` save a file into `folder`, and waits until it is there. */
  async download(folder: string, act: () => Promise<void>): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await this.#send('Browser.setDownloadBehavior', {
      behavior: 'allow',
      downloadPath: folder,
      eventsEnabled: true,
    })
    this.#session = session
    const done = this.#event('Browser.downloadProgress', (params) => params['state'] === 'completed')
    await act()
    await done
  }

  async close(): Promise<void> {
    const gone = new Promise((done) => this.#process.on('exit', done))
    this.#socket.close()
    this.#process.kill('SIGKILL')
    await gone
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 })
  }

  async #send(method: string, params: object = {}): Promise<Record<string, unknown>> {
    const id = ++this.#count
    const session = this.#session === undefined ? {} : { sessionId: this.#session }
    const answer = new Promise<Message>((done) => this.#waiting.set(id, done))
    this.#socket.send(JSON.stringify({ id, method, params, ...session }))
    const { result, error } = await answer
    this.#waiting.delete(id)
    if (error !== undefined) throw new Error(`${method}: ${error.message}`)
    return result ?? {}
  }

  async #event(
    method: string,
    holds: (params: Record<string, unknown>) => boolean = () => true,
  ): Promise<void> {
    await new Promise<void>((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`chromium never said ${method}`)), patienceMs)
      const listener = (message: Message): void => {
        if (message.method !== method || !holds(message.params ?? {})) return
        this.#listeners.delete(listener)
        clearTimeout(timer)
        done()
      }
      this.#listeners.add(listener)
    })
  }
}
