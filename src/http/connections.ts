import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { systemClock } from '../lib/clock.ts'
import { type ReadingLimits, SlowReaders } from './slow-readers.ts'

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

export interface ConnectionLimits extends ReadingLimits {
  /** Connections at a time; for another one the one that has been idle for longest is closed. */
  readonly maxConnections: number
  /** Requests under way per connection. Others that a client sends ahead (pipelining) wait for their turn. */
  readonly maxUnderWay: number
  /** Requests that wait so over all connections. The connection that would exceed it is closed. */
  readonly maxWaiting: number
}

/** What is going on in one connection. */
interface Line {
  underWay: number
  readonly waiting: [IncomingMessage, ServerResponse][]
}

/** How often it is looked for clients that read too slowly, in milliseconds, where they may stall for longer. */
const LOOK_MS = 5_000

/** How long requests that waited are started and worked on in one turn of the event loop, in milliseconds. */
const TURN_MS = 5

/** Maximum number of requests that waited and are started in one turn. */
const MAX_STARTS = 32

/**
 * The connections of a server, each with a bounded number of requests under way. What one read of a socket
 * brings may be thousands of requests: they are started a few at a time, of all connections in turn, and others are
 * answered in between.
 */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #handle: RequestHandler
  /** Longest idle first, as far as it matters: the order is kept once half of the places are taken. */
  readonly #lines = new Map<Socket, Line>()
  /** Those that may start a request that waits, in the order of their turns. */
  readonly #due = new Set<Line>()
  #isTurnPlanned = false
  #waiting = 0

  constructor(limits: ConnectionLimits, handle: RequestHandler) {
    this.#limits = limits
    this.#handle = handle
  }

  /** Has `server` serve its connections and requests by way of this. */
  attach(server: Server): void {
    server.timeout = this.#limits.stallTimeoutMs
    server.maxConnections = this.#limits.maxConnections
    server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('timeout', (socket: Socket) => this.#judgeStalled(socket))
    server.on('request', (request, response) => this.#take(request, response))
    const slowReaders = new SlowReaders(this.#limits)
    const look = setInterval(
      () => slowReaders.close(this.#lines.keys()),
      Math.min(LOOK_MS, this.#limits.stallTimeoutMs),
    ).unref()
    server.once('close', () => clearInterval(look))
  }

  /** Requests that wait for their turn. */
  get waiting(): number {
    return this.#waiting
  }

  /** Closes the connections that have sent nothing yet. For Node these are not idle: it waits for their first request. */
  closeSilent(): void {
    for (const socket of this.#lines.keys()) if (socket.bytesRead === 0) socket.destroy()
  }

  #add(socket: Socket): void {
    const line: Line = { underWay: 0, waiting: [] }
    this.#lines.set(socket, line)
    socket.once('close', () => this.#remove(socket))
    // Node reads on with each request whose body has ended: no more is to be read while others wait.
    socket.on('resume', () => {
      if (line.waiting.length > 0) socket.pause()
    })
    if (this.#lines.size >= this.#limits.maxConnections) this.#closeIdle()
  }

  #remove(socket: Socket): void {
    const line = this.#lines.get(socket)
    if (!line) return
    this.#waiting -= line.waiting.length
    line.waiting.length = 0
    this.#due.delete(line)
    this.#lines.delete(socket)
  }

  /** Nothing has moved for a while: the client does not read, or is idle, or its response takes long to make. */
  #judgeStalled(socket: Socket): void {
    const isBeingServed = (this.#lines.get(socket)?.underWay ?? 0) > 0 && socket.writableLength === 0
    if (isBeingServed) socket.setTimeout(this.#limits.stallTimeoutMs)
    else socket.destroy()
  }

  /** Makes room for a newcomer, whose turn it would else never be while strangers hold all places and do nothing. */
  #closeIdle(): void {
    for (const [socket, { underWay }] of this.#lines) {
      if (underWay > 0 || socket.destroyed) continue
      socket.destroy()
      return
    }
  }

  #take(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const line = this.#lines.get(socket)
    if (!line) return
    if (2 * this.#lines.size > this.#limits.maxConnections) {
      this.#lines.delete(socket)
      this.#lines.set(socket, line)
    }
    if (line.underWay === 0 && line.waiting.length === 0) {
      this.#start(line, request, response)
      return
    }
    if (this.#waiting >= this.#limits.maxWaiting) {
      socket.destroy()
      return
    }
    line.waiting.push([request, response])
    this.#waiting += 1
    socket.pause()
    this.#giveTurn(line)
  }

  #start(line: Line, request: IncomingMessage, response: ServerResponse): void {
    line.underWay += 1
    response.once('close', () => {
      line.underWay -= 1
      this.#giveTurn(line)
    })
    this.#handle(request, response)
  }

  #giveTurn(line: Line): void {
    if (line.waiting.length === 0 || line.underWay >= this.#limits.maxUnderWay) return
    this.#due.add(line)
    this.#planTurn()
  }

  /** In a turn of the event loop of its own, so that whatever came in elsewhere is looked at before. */
  #planTurn(): void {
    if (this.#isTurnPlanned || this.#due.size === 0) return
    this.#isTurnPlanned = true
    let end = Number.POSITIVE_INFINITY
    // Between two of these, which all run in the same turn, Node does what the start of a request has left for later, such
    // as reading its body and parsing: so that counts too.
    setImmediate(() => {
      end = systemClock.monotonicMs() + TURN_MS
      this.#startNext()
    })
    for (let planned = Math.min(MAX_STARTS, this.#waiting); planned > 1; planned -= 1) {
      setImmediate(() => {
        if (systemClock.monotonicMs() < end) this.#startNext()
      })
    }
    setImmediate(() => {
      this.#isTurnPlanned = false
      this.#planTurn()
    })
  }

  /** Starts the next request of the line whose turn it is. */
  #startNext(): void {
    for (const line of this.#due) {
      this.#due.delete(line)
      const next = line.waiting.shift()
      if (!next) continue
      this.#waiting -= 1
      this.#start(line, ...next)
      if (line.waiting.length === 0) next[0].socket.resume()
      // Behind the others: a set is walked in the order in which its members came.
      else if (line.underWay < this.#limits.maxUnderWay) this.#due.add(line)
      return
    }
  }
}
