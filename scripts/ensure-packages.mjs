// The tests run against a real Redis and a real PgBouncer. This makes sure of both, or says in one line what would be right.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Debian's packages, each with its program and service of the same name. */
const needed = [...(process.env.REDIS_URL ? [] : ['redis-server']), 'pgbouncer']

// Debian keeps servers where the PATH of an ordinary user does not lead.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin` }

const runs = (/** @type {string} */ program, /** @type {string[]} */ ...args) =>
  spawnSync(program, args, { stdio: 'ignore', env }).status === 0

const findMissing = () => needed.filter((name) => !runs(name, '--version'))

/** How to become root without being asked for a password, or `undefined`. */
const findRoot = () => {
  if (process.getuid?.() === 0) return []
  return runs('sudo', '-n', 'true') ? ['sudo', '-n'] : undefined
}

const attempt = (/** @type {string[]} */ ...command) => {
  const [program, ...args] = command
  process.stderr.write(`ensure-packages: ${command.join(' ')}\n`)
  // Standard output goes to standard error: `npm test` may be read by a program.
  return spawnSync(/** @type {string} */ (program), args, { stdio: ['ignore', 2, 2], env }).status === 0
}

const install = (/** @type {string[]} */ root, /** @type {string[]} */ packages) => {
  // The packages start servers of their own, and the tests start theirs. systemd obeys a mask, all else RUNLEVEL=1.
  if (existsSync('/run/systemd/system')) {
    if (!attempt(...root, 'systemctl', 'mask', ...packages.map((name) => `${name}.service`))) return false
  }
  const apt = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get']
  const args = ['install', '--yes', '--quiet', '--no-install-recommends', ...packages]
  return attempt(...apt, ...args) || (attempt(...apt, 'update', '--quiet') && attempt(...apt, ...args))
}

const fail = (/** @type {string[]} */ missing, /** @type {string} */ why) => {
  const orElse = missing.includes('redis-server')
    ? '; in place of redis-server, REDIS_URL can name an empty Redis'
    : ''
  process.stderr.write(
    `ensure-packages: the tests need ${missing.join(' and ')}, and ${why}: install ${missing.join(' and ')}${orElse}.\n`,
  )
  process.exitCode = 1
}

const missing = findMissing()
if (missing.length > 0) {
  const root = findRoot()
  if (!runs('apt-get', '--version')) fail(missing, 'there is no apt-get to install what is missing')
  else if (!root) fail(missing, 'there is no right to install what is missing')
  else {
    install(root, missing)
    const left = findMissing()
    if (left.length > 0) fail(left, 'installing with apt-get failed')
  }
}
