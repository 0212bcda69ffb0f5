import { readFileSync } from 'node:fs'

interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } }
}

/** Returns the maximum number of open files and sockets of this process; `undefined` if there is no limit. */
export function findDescriptorLimit(): number | undefined {
  const soft = Number(readLinuxLimit() ?? readReportedLimit())
  return Number.isInteger(soft) && soft > 0 ? soft : undefined
}

/** Hundreds of times faster than the report of Node.js, which collects much else. */
function readLinuxLimit(): string | undefined {
  try {
    return /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

const readReportedLimit = (): number | string | undefined =>
  (process.report.getReport() as Report).userLimits?.open_files?.soft

/** Descriptors that are reserved for stores, logs and files; half of a small limit. */
const RESERVED = 100

/** Returns the maximum number of client connections that leaves the reserved descriptors free. */
export const maxConnectionsUnder = (limit: number): number => limit - Math.min(RESERVED, Math.ceil(limit / 2))

/** More files than Node.js opens at a time to load this program: it reads all imports of a module at once. */
const OPENED_BY_LOADING = 512

/** Whether the modules of this program must be loaded one by one. */
export const isTooLowToLoad = (limit: number | undefined): boolean =>
  limit !== undefined && limit < OPENED_BY_LOADING
