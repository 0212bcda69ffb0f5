// Installs the servers that the tests start if they are missing, or prints one line with the remedy.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

/** Debian packages. Program and service have the name of the package. */
const needed = [...(process.env.REDIS_URL ? [] : ['redis-server']), 'pgbouncer', 'nginx', 'caddy']

/** Arguments with which a program that does not know `--version` prints its version. */
const versionOf = new Map([
  ['nginx', '-v'],
  ['caddy', 'version'],
])

// Debian installs servers in directories that are not in the PATH of an ordinary user.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin` }

const runs = (/** @type {string} */ program, /** @type {string[]} */ ...args) =>
  spawnSync(program, args, { stdio: 'ignore', env }).status === 0

const findMissing = () => needed.filter((name) => !runs(name, versionOf.get(name) ?? '--version'))

/** Returns the command prefix that gives root rights without a password, or `undefined`. */
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
  // The packages must not start their servers: the tests start their own. systemd respects a mask, other systems RUNLEVEL=1.
  if (existsSync('/run/systemd/system')) {
    if (!attempt(...root, 'systemctl', 'mask', ...packages.map((name) => `${name}.service`))) return false
  }
  const apt = [...root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'RUNLEVEL=1', 'apt-get']
  const args = ['install', '--yes', '--quiet', '--no-install-recommends', ...packages]
  return attempt(...apt, ...args) || (attempt(...apt, 'update', '--quiet') && attempt(...apt, ...args))
}

const fail = (/** @type {string[]} */ packages, /** @type {string} */ why) => {
  const orElse = packages.includes('redis-server')
    ? '; instead of redis-server, REDIS_URL may name an empty Redis'
    : ''
  process.stderr.write(
    `ensure-packages: the tests need ${packages.join(' and ')}, and ${why}: install ${packages.join(' and ')}${orElse}.\n`,
  )
  process.exitCode = 1
}

const missing = findMissing()
if (missing.length > 0) {
  const root = findRoot()
  if (!runs('apt-get', '--version')) fail(missing, 'apt-get, which would install them, is missing')
  else if (!root) fail(missing, 'this user may not install them')
  else {
    install(root, missing)
    const left = findMissing()
    if (left.length > 0) fail(left, 'installing with apt-get failed')
  }
}
