import { parentPort, workerData } from 'node:worker_threads'
import { bareCiphers, type BareWork } from './bare-ciphers.ts'

parentPort?.on('message', () => {
  bareCiphers(workerData as BareWork)
  parentPort?.postMessage('done', [])
})
