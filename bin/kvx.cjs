// Runs on any Node, however old, so that the first thing an operator reads is one clear line.
'use strict'
var fs = require('fs')
var path = require('path')

function stop(line) {
  fs.writeSync(2, 'kvx: ' + line + '\n')
  process.exit(2)
}

var version = process.versions.node.split('.').map(Number)
var major = version[0]
var minor = version[1]
var patch = version[2]
var supported =
  (major === 22 && (minor > 22 || (minor === 22 && patch >= 2))) ||
  (major === 24 && minor >= 15) ||
  major >= 26
if (!supported) {
  stop(
    'needs Node 22.22.2, 24.15 or newer; this is Node ' +
      process.versions.node +
      '. Install a newer Node and run it again.',
  )
}

var bundle = path.join(__dirname, '..', 'dist', 'cli', 'main.cjs')
if (!fs.existsSync(bundle)) {
  stop('is not built yet. Run: npm ci && npm run build')
}

// What V8 compiled lies beside the code and belongs to whoever owns the code; a cache that others can write would be
// executed as it is.
var cache = path.join(__dirname, '..', 'dist', '.v8')
var isOurs = false
try {
  var owner = fs.statSync(bundle).uid
  var folder = fs.statSync(cache)
  isOurs = folder.uid === owner && (folder.mode & 18) === 0 && (owner === 0 || owner === process.getuid())
} catch (_) {
  // No cache: slower by some milliseconds, nothing else.
}
// The version was checked above, and nobody configures the argument parser from outside.
process.env.OCLIF_DISABLE_ENGINE_WARNING = '1'
process.env.OCLIF_DISABLE_RC = '1'
require('./load.cjs').start(path.dirname(bundle), isOurs ? cache : undefined)
