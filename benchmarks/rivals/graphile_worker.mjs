// graphile-worker with its LocalQueue, as its own performance test configures it: a batch of 500 jobs fetched at once, completed
// jobs reported together. Posting gains from more jobs at a time (64, not 24) and a longer wait for other completions (100 ms,
// not 0; its documentation says to begin with 250). Its jobs are gone once they are done.
import { makeWorkerUtils, run, Logger } from 'graphile-worker'
import { batches } from './bodies.mjs'
import { poster } from './http_agent.mjs'

const CONCURRENT = 64
const TASK = 'post'
const quiet = new Logger(() => (level, message) => { if (level === 'error') console.error(message) })

const [command, connectionString, argument] = process.argv.slice(2)
await { prepare, work }[command](argument)

async function prepare (file) {
  const utils = await makeWorkerUtils({ connectionString, logger: quiet })
  await utils.migrate()
  for (const bodies of batches(file)) await utils.addJobs(bodies.map((payload) => ({ identifier: TASK, payload })))
  await utils.release()
}

async function work (url) {
  const post = poster(url, CONCURRENT)
  const worker = {
    connectionString,
    concurrentJobs: CONCURRENT,
    maxPoolSize: CONCURRENT + 1,
    localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
    completeJobBatchDelay: 100,
    failJobBatchDelay: 0
  }
  const runner = await run({ logger: quiet, noHandleSignals: true, preset: { worker }, taskList: { [TASK]: post } })
  process.once('SIGTERM', () => runner.stop().finally(() => process.exit(0)))
}
