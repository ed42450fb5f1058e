/** The stand-in for S3 in a process of its own: prints its address, and ends with its input. */
import { S3Server } from './s3-server.ts'

const server = await new S3Server({ pageSize: 10 }).start()
process.stdout.write(`${server.endpoint}\n`)
process.stdin.on('end', () => process.exit()).resume()
