const UNIT_SECONDS = { w: 604_800, d: 86_400, h: 3_600, m: 60, s: 1 } as const

const DURATION = /^(\d+[wdhms])+$/
const PART = /(\d+)([wdhms])/g

/** Returns the seconds of a duration such as `30d` or `1h30m`; `undefined` for any other text. */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined
  let seconds = 0
  for (const [, amount, unit] of text.matchAll(PART)) {
    seconds += Number(amount) * UNIT_SECONDS[unit as keyof typeof UNIT_SECONDS]
  }
  return Number.isSafeInteger(seconds) ? seconds : undefined
}
