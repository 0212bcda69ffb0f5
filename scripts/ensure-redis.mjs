// The tests run against a real Redis. This makes sure that there is one, or says in one line what would be right.
import { spawnSync } from 'node:child_process'

const PACKAGE = 'redis-server'

const runs = (/** @type {string} */ program, /** @type {string[]} */ ...args) =>
  spawnSync(program, args, { stdio: 'ignore' }).status === 0

/** How to become root without being asked for a password, or `undefined`. */
const findRoot = () => {
  if (process.getuid?.() === 0) return []
  return runs('sudo', '-n', 'true') ? ['sudo', '-n'] : undefined
}

const install = (/** @type {string[]} */ root) => {
  // RUNLEVEL=1 keeps the package from starting a server of its own; the tests start theirs.
  const apt = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get']
  const attempt = (/** @type {string[]} */ ...args) => {
    const [program, ...rest] = [...apt, ...args]
    process.stderr.write(`ensure-redis: apt-get ${args.join(' ')}\n`)
    // Standard output goes to standard error: `npm test` may be read by a program.
    return spawnSync(/** @type {string} */ (program), rest, { stdio: ['ignore', 2, 2] }).status === 0
  }
  const args = ['install', '--yes', '--quiet', '--no-install-recommends', PACKAGE]
  return attempt(...args) || (attempt('update', '--quiet') && attempt(...args))
}

const fail = (/** @type {string} */ why) => {
  process.stderr.write(
    `ensure-redis: the tests need a Redis, and ${why}: install redis-server, or set REDIS_URL to an empty Redis.\n`,
  )
  process.exitCode = 1
}

if (!process.env.REDIS_URL && !runs('redis-server', '--version')) {
  const root = findRoot()
  if (!runs('apt-get', '--version')) fail('there is no redis-server on the PATH')
  else if (!root) fail('there is no redis-server on the PATH, nor the right to install it')
  else if (!install(root) || !runs('redis-server', '--version'))
    fail(`installing ${PACKAGE} with apt-get failed`)
}
