import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

export interface ConnectionLimits {
  /** Connections at a time; for another one the one that has been idle for longest is closed. */
  readonly maxConnections: number
  /** Requests under way per connection. Others that a client sends ahead (pipelining) wait for their turn. */
  readonly maxUnderWay: number
  /** Requests that wait so over all connections. The connection that would exceed it is closed. */
  readonly maxWaiting: number
  /** How long a client may leave a response unread, in milliseconds. */
  readonly stallTimeoutMs: number
}

/** What is going on in one connection. */
interface Line {
  underWay: number
  readonly waiting: [IncomingMessage, ServerResponse][]
  isTurnDue: boolean
}

/**
 * The connections of a server, each with a bounded number of requests under way. What one read of a socket
 * brings may be thousands of requests: they are started a few at a time, and others are answered in between.
 */
export class Connections {
  readonly #limits: ConnectionLimits
  readonly #handle: RequestHandler
  /** Longest idle first, as far as it matters: the order is kept once half of the places are taken. */
  readonly #lines = new Map<Socket, Line>()
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
    this.#lines.set(socket, { underWay: 0, waiting: [], isTurnDue: false })
    socket.once('close', () => this.#remove(socket))
    if (this.#lines.size >= this.#limits.maxConnections) this.#closeIdle()
  }

  #remove(socket: Socket): void {
    const line = this.#lines.get(socket)
    if (!line) return
    this.#waiting -= line.waiting.length
    line.waiting.length = 0
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
    if (line.underWay < this.#limits.maxUnderWay && line.waiting.length === 0) {
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
  }

  #start(line: Line, request: IncomingMessage, response: ServerResponse): void {
    line.underWay += 1
    response.once('close', () => {
      line.underWay -= 1
      this.#giveTurn(line, request.socket)
    })
    this.#handle(request, response)
  }

  /** In a turn of the event loop of its own, so that whatever came in elsewhere is looked at before. */
  #giveTurn(line: Line, socket: Socket): void {
    if (line.waiting.length === 0 || line.isTurnDue) return
    line.isTurnDue = true
    setImmediate(() => {
      line.isTurnDue = false
      const free = this.#limits.maxUnderWay - line.underWay
      const next = line.waiting.splice(0, free)
      this.#waiting -= next.length
      for (const [request, response] of next) this.#start(line, request, response)
      if (line.waiting.length === 0 && !socket.destroyed) socket.resume()
    })
  }
}
