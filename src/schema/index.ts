import { builder } from './builder.ts'
import './delegation.ts'
import './history.ts'
import './scalars.ts'
import './scope.ts'
import './token-cache.ts'
import './token-creation.ts'
import './token-modification.ts'
import './token-revocation.ts'
import './token.ts'
import './viewer.ts'

/** The executable schema. `schema.graphql` is its printed form. */
export const schema = builder.toSchema({ sortSchema: false })
