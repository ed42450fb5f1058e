import { countsOf } from '../migration/plan.ts'
import type { Retirement } from '../migration/retire.ts'
import { censusLine } from './census-view.ts'

type Subject = { readonly name: string; readonly version: number }

export function retiredData({ name, version }: Subject, done: Retirement): object {
  const { certificate, places } = done
  const scans = done.scans.map((scan) => scan.map(countsOf))
  return { name, version, retired: true, certificate, scans, published: places }
}

export function retiredLines({ name, version }: Subject, done: Retirement): readonly string[] {
  return [
    ...(done.scans.at(-1) ?? []).map((census) => censusLine(name, census)),
    `${name}@${version} is retired: two full scans found no value that needs it`,
    ...unpublishedLines(done.places),
    `certificate  ${done.certificate}`,
  ]
}

export function unpublishedLines(places: Retirement['places']): readonly string[] {
  return places
    .filter(({ changed }) => changed)
    .map(({ place }) => `taken out of the second slot of ${place}`)
}
