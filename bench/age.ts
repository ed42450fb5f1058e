import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** The same bytes in a file of `age`, and their way to a new key by hand. */
export class Age {
  readonly #directory: string
  readonly #bytes: number

  private constructor(directory: string, bytes: number) {
    this.#directory = directory
    this.#bytes = bytes
  }

  /** Undefined where `age` is not installed. */
  static async begin(directory: string, content: () => AsyncIterable<Buffer>): Promise<Age | undefined> {
    if (spawnSync('age', ['--version']).error !== undefined) {
      process.stderr.write('the vault beside `age` is left out: it is not installed\n')
      return undefined
    }
    for (const name of ['old', 'new'])
      execFileSync('age-keygen', ['-o', join(directory, `${name}.age-key`)], { stdio: 'ignore' })
    const old = join(directory, 'old.age')
    const child = spawn('age', ['-e', '-r', recipient(directory, 'old'), '-o', old], {
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    const ended = once(child, 'close')
    await pipeline(Readable.from(content()), child.stdin)
    await ended
    return new Age(directory, statSync(old).size)
  }

  toNewKey(): void {
    const script = 'age -d -i old.age-key old.age | age -e -r "$0" -o new.age && sync'
    execFileSync('sh', ['-c', script, recipient(this.#directory, 'new')], { cwd: this.#directory })
    if (statSync(join(this.#directory, 'new.age')).size < this.#bytes)
      throw new Error('age did not move all of it')
  }

  /** Removes what it made, so that nothing waits for more room than one of them. */
  forget(): void {
    rmSync(join(this.#directory, 'new.age'))
  }
}

function recipient(directory: string, name: string): string {
  return execFileSync('age-keygen', ['-y', join(directory, `${name}.age-key`)], { encoding: 'utf8' }).trim()
}
