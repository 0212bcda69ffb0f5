import { readFileSync } from 'node:fs'

interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } }
}

/** How many files and sockets this process may have open at a time; `undefined` where nothing limits them. */
export function findDescriptorLimit(): number | undefined {
  const soft = Number(readLinuxLimit() ?? readReportedLimit())
  return Number.isInteger(soft) && soft > 0 ? soft : undefined
}

/** Hundreds of times faster than the report, which collects much else. */
function readLinuxLimit(): string | undefined {
  try {
    return /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

const readReportedLimit = (): number | string | undefined =>
  (process.report.getReport() as Report).userLimits?.open_files?.soft

/** Descriptors that are left to stores, logs and files: of a small limit half. */
const RESERVED = 100

/** Most connections of clients, so that descriptors are left for everything else. */
export const maxConnectionsUnder = (limit: number): number => limit - Math.min(RESERVED, Math.ceil(limit / 2))

/** Files that Node may open at once to load this program, with room to spare: it looks into all that a module imports. */
const OPENED_BY_LOADING = 512

/** Whether the modules of this program have to be loaded one by one. */
export const isTooLowToLoad = (limit: number | undefined): boolean =>
  limit !== undefined && limit < OPENED_BY_LOADING
