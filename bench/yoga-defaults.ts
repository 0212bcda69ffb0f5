import { createServer } from 'node:http'
import { createSchema, createYoga } from 'graphql-yoga'
import { announce } from './announce.ts'

/** Yoga as in its quick start. */
announce(createServer(createYoga({ schema: createSchema({ typeDefs: 'type Query { hello: String }' }) })))
