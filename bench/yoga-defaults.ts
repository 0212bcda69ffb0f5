import { createServer } from 'node:http'
import { createSchema, createYoga } from 'graphql-yoga'
import { announce } from './announce.ts'

/** Yoga as its own quick start has it. */
announce(createServer(createYoga({ schema: createSchema({ typeDefs: 'type Query { hello: String }' }) })))
