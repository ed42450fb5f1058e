import { allScenarios, Kit } from './scenarios.ts'
import { tryScenario } from './engine.ts'
const kit = new Kit()
const want = process.argv[2]
const most = Number(process.argv[3] ?? 6)
for (const s of allScenarios(kit)) {
  if (want && want !== '-' && !`${s.title} ${s.store}`.includes(want)) continue
  const t = performance.now()
  try {
    const rows = await tryScenario(s, { lanes: 2, most })
    console.log(s.title, s.store, Math.round(performance.now() - t), 'ms')
    for (const r of rows) if (r.tried || r.bad.length) console.log('  ', r.fault, r.points, 'tried', r.tried, 'old', r.old, 'new', r.done, 'res', r.resumed, 'back', r.rolledBack, 'again', r.again, 'bad', r.bad.map((b) => b.slice(0, 600)))
  } catch (e) { console.log('FAIL', s.title, s.store, String(e).slice(0, 800)) }
}
await kit.close()
