import { defineConfig } from 'prisma/config'

// `prisma generate` looks for the native schema engine, a download that it then does not use.
// Any executable ends the search; migrations run through the WebAssembly engine instead.
process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= process.execPath

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations' },
  ...(process.env.DATABASE_URL ? { datasource: { url: process.env.DATABASE_URL } } : {}),
})
