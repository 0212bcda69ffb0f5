interface Report {
  readonly userLimits?: { readonly open_files?: { readonly soft?: number | string } }
}

/** How many files and sockets this process may have open at a time; `undefined` where nothing limits them. */
export function findDescriptorLimit(): number | undefined {
  const { userLimits } = process.report.getReport() as Report
  const soft = Number(userLimits?.open_files?.soft)
  return Number.isInteger(soft) && soft > 0 ? soft : undefined
}

/** Descriptors that are left to stores, logs and files: of a small limit half. */
const RESERVED = 100

/** Most connections of clients, so that descriptors are left for everything else. */
export const maxConnectionsUnder = (limit: number): number => limit - Math.min(RESERVED, Math.ceil(limit / 2))
