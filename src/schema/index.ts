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

/** Executable schema; `npm run codegen` prints it to `schema.graphql`. */
export const schema = builder.toSchema({ sortSchema: false })
