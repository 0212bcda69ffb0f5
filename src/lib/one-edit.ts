/** Whether one letter inserted, deleted, replaced, or swapped with the next turns `left` into `right`; not if they are equal. */
export function isOneEditApart(left: string, right: string): boolean {
  if (left === right) return false
  let start = 0
  while (start < left.length && left[start] === right[start]) start += 1
  let end = 0
  const shared = Math.min(left.length, right.length) - start
  while (end < shared && left.at(-1 - end) === right.at(-1 - end)) end += 1
  const before = left.slice(start, left.length - end)
  const after = right.slice(start, right.length - end)
  if (before.length <= 1 && after.length <= 1) return true
  return before.length === 2 && after.length === 2 && before[0] === after[1] && before[1] === after[0]
}
