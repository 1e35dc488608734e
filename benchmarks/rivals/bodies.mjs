// The bodies of the jobs to enqueue, some hundred at a time.
import { readFileSync } from 'node:fs'

const AT_ONCE = 500

export function * batches (file) {
  const bodies = readFileSync(file, 'utf8').trimEnd().split('\n').map((line) => JSON.parse(line))
  for (let start = 0; start < bodies.length; start += AT_ONCE) yield bodies.slice(start, start + AT_ONCE)
}
