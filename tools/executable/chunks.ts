/** The chunks of the program as the executable holds them: each one wrapped as a CommonJS module. */
import { constants, Script } from 'node:vm'

export type Chunk = {
  readonly source: string
  /** What V8 compiled of it before, in a process with the same flags. Another version of V8 passes over it. */
  readonly code: Uint8Array | undefined
}

/** The source of an asset; `load` calls what it evaluates to. */
export function wrapped(source: string): string {
  return `(function (exports, require, module, __filename, __dirname) {${source}\n})`
}

type Factory = (
  exports: unknown,
  require: (id: string) => unknown,
  module: { exports: unknown },
  file: string,
  folder: string,
) => void

/** A `require` for chunks and for the modules of Node; there is nothing else. `scripts` are those that it ran. */
export function chunkLoader(chunkOf: (name: string) => Chunk, folder: string) {
  const modules = new Map<string, { exports: unknown }>()
  const scripts = new Map<string, Script>()

  function evaluate(name: string): { exports: unknown } {
    const module = { exports: {} }
    modules.set(name, module)
    const { source, code } = chunkOf(name)
    const script = new Script(source, {
      filename: name,
      cachedData: code,
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    })
    scripts.set(name, script)
    const factory = script.runInThisContext() as Factory
    factory(module.exports, load, module, `${folder}/${name}`, folder)
    return module
  }

  function load(id: string): unknown {
    if (id.startsWith('./')) return (modules.get(id.slice(2)) ?? evaluate(id.slice(2))).exports
    const builtin = process.getBuiltinModule(id)
    if (builtin !== undefined) return builtin
    throw Object.assign(new Error('no such module'), { code: 'MODULE_NOT_FOUND' })
  }

  return { load, scripts }
}
