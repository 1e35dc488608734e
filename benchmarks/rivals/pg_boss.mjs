// pg-boss with two workers, each of which takes 500 jobs at once and posts them together: work() with batchSize, and
// notifyWorker() so that a full batch is followed by the next without the pause between polls. No supervision, no schedules.
import PgBoss from 'pg-boss'
import { batches } from './bodies.mjs'
import { poster } from './http_agent.mjs'

const AT_ONCE = 500
const CONNECTIONS = 64
const WORKERS = 2
const QUEUE = 'post'

const [command, connectionString, argument] = process.argv.slice(2)
const boss = new PgBoss({ connectionString, supervise: false, schedule: false })
boss.on('error', (error) => console.error(error.message))
await boss.start()
await { prepare, work }[command](argument)

async function prepare (file) {
  await boss.createQueue(QUEUE)
  for (const bodies of batches(file)) await boss.insert(bodies.map((data) => ({ name: QUEUE, data })))
  await boss.stop({ graceful: false })
}

async function work (url) {
  const post = poster(url, CONNECTIONS)
  const options = { batchSize: AT_ONCE, pollingIntervalSeconds: 0.5, priority: false }
  for (let number = 0; number < WORKERS; number++) {
    const id = await boss.work(QUEUE, options, async (jobs) => {
      await Promise.all(jobs.map((job) => post(job.data)))
      boss.notifyWorker(id)
    })
  }
  process.once('SIGTERM', () => boss.stop({ timeout: 5000 }).finally(() => process.exit(0)))
}
