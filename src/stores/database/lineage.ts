import type { TokenKey } from '../../domain/token.ts'
import { Prisma } from '../../generated/prisma/client.ts'

/** A child and its parent. */
export interface LineageLink {
  readonly child: TokenKey
  readonly parent: TokenKey
}

/** Links that one statement returns. */
const LIST_BATCH_SIZE = 20_000

/**
 * Yields all links below some tokens in batches, as of the first batch. Locks nothing.
 *
 * UNION also ends if links form a cycle, since a child has one parent. OFFSET 0 and the setting make each step use the index:
 * there may be as many steps as tokens, and if one token has most of the children, the planner would read the whole table in
 * each. A cursor makes each statement as short as a batch.
 */
export async function* listBelow(
  tx: Prisma.TransactionClient,
  keys: readonly TokenKey[],
): AsyncIterable<readonly LineageLink[]> {
  await tx.$executeRaw`SET LOCAL enable_seqscan = off`
  await tx.$executeRaw`
    DECLARE porthor_below NO SCROLL CURSOR FOR
    WITH RECURSIVE below AS (
      SELECT link.child, link.parent FROM unnest(${keys}::text[]) AS seed (key) CROSS JOIN LATERAL (
        SELECT child, parent FROM subtoken WHERE parent = seed.key OFFSET 0) AS link
      UNION
      SELECT link.child, link.parent FROM below CROSS JOIN LATERAL (
        SELECT child, parent FROM subtoken WHERE parent = below.child OFFSET 0) AS link
    )
    SELECT child, parent FROM below`
  let links: LineageLink[]
  do {
    links = await tx.$queryRaw<LineageLink[]>(
      Prisma.sql`FETCH FORWARD ${Prisma.raw(String(LIST_BATCH_SIZE))} FROM porthor_below`,
    )
    if (links.length > 0) yield links
  } while (links.length === LIST_BATCH_SIZE)
  await tx.$executeRaw`CLOSE porthor_below`
}
