/**
 * Members of one object in the variables. No input type has nearly as many; graphql-js quotes the whole object in the error
 * for each unknown one.
 */
export const MAX_MEMBERS = 300

/** Returns whether an object in the variables, at any depth, has more members than are allowed. */
export function areVariablesTooLarge(variables: unknown): boolean {
  const unvisited = [variables]
  // Not recursive: JSON may be nested as deeply as its length allows.
  for (let value = unvisited.pop(); value !== undefined; value = unvisited.pop()) {
    if (typeof value !== 'object' || value === null) continue
    const members: readonly unknown[] = Array.isArray(value) ? value : Object.values(value)
    if (!Array.isArray(value) && members.length > MAX_MEMBERS) return true
    for (const member of members) if (typeof member === 'object' && member !== null) unvisited.push(member)
  }
  return false
}
