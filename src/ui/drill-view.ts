import type { Drill } from '../keyring/drill.ts'
import { checkValueOf } from '../core/fingerprint.ts'

/** `data` of `kvx.backup.drill/1`. */
export function drillData({ report, path }: Drill): object {
  const { name, version, fingerprint, source, from, participants, opened, started, seconds, nextDue } = report
  return {
    name,
    version,
    fingerprint,
    checkValue: checkValueOf(fingerprint),
    source,
    from,
    participants,
    opened,
    started,
    seconds,
    nextDue,
    report: path,
    training: false,
  }
}

export function drillLines({ report, path }: Drill): readonly string[] {
  const subject = `${report.name}@${report.version}`
  const who = report.participants.map(({ index, who }) => (index === null ? who : `${index} ${who}`))
  return [
    `${subject} came back from ${report.source === 'gpg' ? 'the backup' : 'the share set'} ${report.from}: the full fingerprint is right, and its ${report.opened} opens`,
    `  ${who.join(', ')}; ${report.seconds} s; the key was wiped, nothing was changed`,
    `  ${path}`,
    `the next drill is due on ${report.nextDue.slice(0, 10)}`,
  ]
}
