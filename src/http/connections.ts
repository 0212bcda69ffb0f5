import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { systemClock } from '../lib/clock.ts'
import { type ReadingLimits, SlowReaders } from './slow-readers.ts'

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

export interface ConnectionLimits extends ReadingLimits {
  /** Maximum number of open connections. A new one beyond it closes the one that has been idle for longest. */
  readonly maxConnections: number
  /** Maximum number of running requests per connection. Further pipelined requests wait. */
  readonly maxRunning: number
  /** Maximum number of waiting requests over all connections. A connection that would exceed it is closed. */
  readonly maxWaiting: number
}

/** The requests of one connection. */
interface Pipeline {
  running: number
  readonly waiting: [IncomingMessage, ServerResponse][]
}

/** Time between two checks for clients that read too slowly, in milliseconds; less if they may stall for less. */
const CHECK_INTERVAL_MS = 5_000

/** Maximum time for starting waiting requests and for the work that they begin, in one iteration of the event loop, in milliseconds. */
const MAX_START_MS = 5

/** Maximum number of waiting requests that are started in one iteration. */
const MAX_STARTS = 32

/**
 * The connections of a server, each with a bounded number of running requests. One read of a socket may return thousands
 * of requests: they are started a few at a time, in turn over all connections, so that other requests get responses in
 * between.
 */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #handle: RequestHandler
  /** The longest idle first. This order is kept only once half of the maximum number of connections are open. */
  readonly #pipelines = new Map<Socket, Pipeline>()
  /** Pipelines that may start a waiting request, in this order. */
  readonly #due = new Set<Pipeline>()
  #isStartScheduled = false
  #waiting = 0

  constructor(limits: ConnectionLimits, handle: RequestHandler) {
    this.#limits = limits
    this.#handle = handle
  }

  /** Handles the connections and requests of `server`. */
  attach(server: Server): void {
    server.timeout = this.#limits.stallTimeoutMs
    server.maxConnections = this.#limits.maxConnections
    server.on('connection', (socket: Socket) => this.#add(socket))
    server.on('timeout', (socket: Socket) => this.#checkStalled(socket))
    server.on('request', (request, response) => this.#accept(request, response))
    const slowReaders = new SlowReaders(this.#limits)
    const check = setInterval(
      () => slowReaders.close(this.#pipelines.keys()),
      Math.min(CHECK_INTERVAL_MS, this.#limits.stallTimeoutMs),
    ).unref()
    server.once('close', () => clearInterval(check))
  }

  /** Number of waiting requests. */
  get waiting(): number {
    return this.#waiting
  }

  /** Closes the connections that have sent nothing yet. Node does not count them as idle: it waits for a first request. */
  closeSilent(): void {
    for (const socket of this.#pipelines.keys()) if (socket.bytesRead === 0) socket.destroy()
  }

  #add(socket: Socket): void {
    const pipeline: Pipeline = { running: 0, waiting: [] }
    this.#pipelines.set(socket, pipeline)
    socket.once('close', () => this.#remove(socket))
    // Node resumes the socket when the body of a request has ended: nothing must be read while requests wait.
    socket.on('resume', () => {
      if (pipeline.waiting.length > 0) socket.pause()
    })
    if (this.#pipelines.size >= this.#limits.maxConnections) this.#closeIdle()
  }

  #remove(socket: Socket): void {
    const pipeline = this.#pipelines.get(socket)
    if (!pipeline) return
    this.#waiting -= pipeline.waiting.length
    pipeline.waiting.length = 0
    this.#due.delete(pipeline)
    this.#pipelines.delete(socket)
  }

  /** Closes a connection without traffic, unless its request is still running: then there is nothing to read yet. */
  #checkStalled(socket: Socket): void {
    const isBeingServed = (this.#pipelines.get(socket)?.running ?? 0) > 0 && socket.writableLength === 0
    if (isBeingServed) socket.setTimeout(this.#limits.stallTimeoutMs)
    else socket.destroy()
  }

  /** Closes the longest idle connection, so that idle connections cannot keep out new ones. */
  #closeIdle(): void {
    for (const [socket, { running }] of this.#pipelines) {
      if (running > 0 || socket.destroyed) continue
      socket.destroy()
      return
    }
  }

  #accept(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const pipeline = this.#pipelines.get(socket)
    if (!pipeline) return
    if (2 * this.#pipelines.size > this.#limits.maxConnections) {
      this.#pipelines.delete(socket)
      this.#pipelines.set(socket, pipeline)
    }
    if (pipeline.running === 0 && pipeline.waiting.length === 0) {
      this.#start(pipeline, request, response)
      return
    }
    if (this.#waiting >= this.#limits.maxWaiting) {
      socket.destroy()
      return
    }
    pipeline.waiting.push([request, response])
    this.#waiting += 1
    socket.pause()
    this.#enqueue(pipeline)
  }

  #start(pipeline: Pipeline, request: IncomingMessage, response: ServerResponse): void {
    pipeline.running += 1
    response.once('close', () => {
      pipeline.running -= 1
      this.#enqueue(pipeline)
    })
    this.#handle(request, response)
  }

  #enqueue(pipeline: Pipeline): void {
    if (pipeline.waiting.length === 0 || pipeline.running >= this.#limits.maxRunning) return
    this.#due.add(pipeline)
    this.#scheduleStart()
  }

  /** Starts requests in the next iteration of the event loop, after the events of other sockets. */
  #scheduleStart(): void {
    if (this.#isStartScheduled || this.#due.size === 0) return
    this.#isStartScheduled = true
    let end = Number.POSITIVE_INFINITY
    // Node runs what the start of a request has deferred, such as reading its body and parsing, between two of these
    // callbacks of one iteration: so that counts too.
    setImmediate(() => {
      end = systemClock.monotonicMs() + MAX_START_MS
      this.#startNext()
    })
    for (let planned = Math.min(MAX_STARTS, this.#waiting); planned > 1; planned -= 1) {
      setImmediate(() => {
        if (systemClock.monotonicMs() < end) this.#startNext()
      })
    }
    setImmediate(() => {
      this.#isStartScheduled = false
      this.#scheduleStart()
    })
  }

  /** Starts the next request of the pipeline whose turn it is. */
  #startNext(): void {
    for (const pipeline of this.#due) {
      this.#due.delete(pipeline)
      const next = pipeline.waiting.shift()
      if (!next) continue
      this.#waiting -= 1
      this.#start(pipeline, ...next)
      if (pipeline.waiting.length === 0) next[0].socket.resume()
      // Appended: a set is iterated in the order of insertion.
      else if (pipeline.running < this.#limits.maxRunning) this.#due.add(pipeline)
      return
    }
  }
}
