import type { TokenKey } from '../../domain/token.ts'
import { Prisma } from '../../generated/prisma/client.ts'

/** A child, and whose it is. */
export interface LineageLink {
  readonly child: TokenKey
  readonly parent: TokenKey
}

/** Links of lineage that one statement lists. */
const LIST_BATCH_SIZE = 20_000

/**
 * All links of lineage below some tokens, as they are at the first step, in batches. Locks nothing.
 *
 * UNION ends in a circle too, since a child has one parent. OFFSET 0 has each step look the children up by their
 * index, and so does the setting: there may be as many steps as tokens, and where one has most of all children the
 * planner would read the whole table at each. A cursor keeps its place, so that no statement is longer than a batch.
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
