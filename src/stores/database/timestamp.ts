/** Returns a `timestamp without time zone` in UTC, such as `2026-01-01 00:00:00.000`. */
export const formatTimestamp = (date: Date): string => date.toISOString().replace('T', ' ').replace('Z', '')
