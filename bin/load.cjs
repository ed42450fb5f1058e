// Loads the program: the chunks of dist/cli, with what V8 compiled of them in an earlier run of the same command.
// Node's own compile cache is made before anything ran, and holds nothing of a function that is compiled when it is
// first called; that was a tenth of a start.
'use strict'
const fs = require('fs')
const { constants, Script } = require('vm')

/**
 * Runs `main.cjs` of a folder.
 * @param folder the chunks
 * @param cache where compiled code is kept, a folder that nobody else can write; undefined for none
 */
exports.start = function start(folder, cache) {
  const modules = new Map()
  const packs = []
  let pack = openPack('main.cjs')
  let isRunning = false

  function openPack(root) {
    const opened = new Pack(cache === undefined ? undefined : `${cache}/${root}.code`)
    packs.push(opened)
    return opened
  }

  function load(id) {
    if (!id.startsWith('./')) return require(id)
    const name = id.slice(2)
    return (modules.get(name) ?? evaluate(name, load)).exports
  }

  /** What `main.cjs` asks for when it runs is a command: its code lies in a file of its own, with all that it loads. */
  function loadCommand(id) {
    if (isRunning && id.startsWith('./') && !modules.has(id.slice(2))) pack = openPack(id.slice(2))
    return load(id)
  }

  function evaluate(name, loader) {
    const module = { exports: {} }
    modules.set(name, module)
    try {
      const file = `${folder}/${name}`
      pack.compile(name, file).runInThisContext()(module.exports, loader, module, file, folder)
    } catch (error) {
      modules.delete(name)
      throw error
    }
    return module
  }

  Object.assign(load, { resolve: require.resolve, main: require.main })
  Object.assign(loadCommand, load)
  if (cache !== undefined) process.once('exit', () => packs.forEach((opened) => opened.keep()))
  evaluate('main.cjs', loadCommand)
  isRunning = true
}

/**
 * What V8 compiled of a command's chunks, in one file: its length, the length of the list, the list, the code of each
 * from a multiple of eight on. V8 checks its own version and options and the length of the source; the stamp says that
 * the source is the same file, and a file gets its name when all of it is on the medium.
 */
class Pack {
  #file
  /** name -> { stamp, code } */
  #known = new Map()
  /** name -> { stamp, script } */
  #ran = new Map()
  #isWhole = true

  constructor(file) {
    this.#file = file
    try {
      if (file !== undefined) this.#known = unpack(fs.readFileSync(file))
    } catch {
      // There is none yet, or it is not readable: slower by some milliseconds, nothing else.
    }
  }

  compile(name, file) {
    const { source, stamp } = readStamped(file)
    const known = this.#known.get(name)
    const cachedData = known?.stamp === stamp ? known.code : undefined
    const script = new Script(
      `(function (exports, require, module, __filename, __dirname) {${source}\n})`,
      // No dynamic import is in the chunks but those of foreign libraries, which name modules of Node.
      { filename: file, cachedData, importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER },
    )
    this.#ran.set(name, { stamp, script })
    if (script.cachedDataRejected !== false) this.#isWhole = false
    return script
  }

  /** Writes the file anew when something ran that it did not have. Where it cannot be written, it stays as it is. */
  keep() {
    if (this.#isWhole || this.#file === undefined) return
    const temporary = `${this.#file}.${process.pid}`
    let fd
    try {
      fd = fs.openSync(temporary, 'wx')
    } catch {
      return // it belongs to somebody else, or all of it is read-only
    }
    try {
      try {
        fs.fchmodSync(fd, 0o644) // the umask of a run closes files to all others, who may read this one
        fs.writeFileSync(fd, packed(this.#known, this.#ran))
        fs.fsyncSync(fd)
      } finally {
        fs.closeSync(fd)
      }
      fs.renameSync(temporary, this.#file)
    } catch {
      discard(temporary)
    }
  }
}

/** Nothing of the cache may change how a command ends. */
function discard(file) {
  try {
    fs.unlinkSync(file)
  } catch {
    // It is in nobody's way.
  }
}

function readStamped(file) {
  const fd = fs.openSync(file)
  try {
    const { ino, size, ctimeMs } = fs.fstatSync(fd)
    return { stamp: `${ino} ${size} ${ctimeMs}`, source: fs.readFileSync(fd, 'utf8') }
  } finally {
    fs.closeSync(fd)
  }
}

const aligned = (offset) => Math.ceil(offset / 8) * 8

function packed(known, ran) {
  const codes = new Map(known)
  for (const [name, { stamp, script }] of ran) codes.set(name, { stamp, code: script.createCachedData() })
  let end = 0
  const list = [...codes].map(([name, { stamp, code }]) => {
    const offset = end
    end = aligned(offset + code.length)
    return [name, stamp, offset, code.length]
  })
  const head = Buffer.from(JSON.stringify(list))
  const first = aligned(8 + head.length)
  const bytes = Buffer.alloc(first + end)
  bytes.writeUInt32LE(head.length, 4)
  head.copy(bytes, 8)
  for (const [name, , offset] of list) bytes.set(codes.get(name).code, first + offset)
  bytes.writeUInt32LE(bytes.length, 0)
  return bytes
}

function unpack(bytes) {
  if (bytes.length < 8 || bytes.readUInt32LE(0) !== bytes.length) return new Map()
  const length = bytes.readUInt32LE(4)
  const first = aligned(8 + length)
  const list = JSON.parse(bytes.toString('utf8', 8, 8 + length))
  return new Map(
    list.map(([name, stamp, offset, size]) => [
      name,
      { stamp, code: bytes.subarray(first + offset, first + offset + size) },
    ]),
  )
}
