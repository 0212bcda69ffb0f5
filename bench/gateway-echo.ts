import { createServer } from 'node:http'
import { announce } from './announce.ts'

/** A minimal HTTP server in Node that responds to a GET with given headers: a JSON list of names and values in turn. */
const headers = JSON.parse(process.env.HEADERS ?? '[]') as string[]

announce(
  createServer((_request, response) => {
    response.writeHead(200, headers).end()
  }),
)
