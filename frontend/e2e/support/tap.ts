/**
 * An HTTP proxy between the browser and everything else, which remembers every byte
 * that passes: what the browser's own tools show leaves out the bodies of redirects
 * and the answers to page loads that were cut short. Nothing outside this machine
 * can be reached through it.
 */
import { createHash } from 'node:crypto'
import { createServer, request as send, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** One answer as it came over the wire. */
export interface Exchange {
  method: string
  url: string
  /** The header lines that the browser sent and those that it received. */
  sent: readonly string[]
  received: readonly string[]
  status: number
  body: Buffer
}

const here = new Set(['localhost', '127.0.0.1', '[::1]'])

export class Tap {
  readonly exchanges: Exchange[] = []
  /** A browser that keeps no cookies of this host and port: its Set-Cookie lines are cut. */
  dropCookiesOf: string | undefined
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #bodies = new Map<string, Buffer>()

  private constructor() {
    this.#server = createServer((request, response) => this.#relay(request, response))
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('connect', (request: IncomingMessage, socket: Duplex, head: Buffer) =>
      this.#tunnel(request, socket, head),
    )
  }

  static async start(): Promise<Tap> {
    const tap = new Tap()
    await new Promise<void>((resolve) => tap.#server.listen(0, '127.0.0.1', resolve))
    return tap
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port.toString()}`
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #relay(request: IncomingMessage, response: ServerResponse): void {
    const url = URL.parse(request.url ?? '')
    if (!url || !here.has(url.hostname)) {
      response.writeHead(502).end()
      return
    }
    const headers: string[] = []
    for (const [name, value] of pairs(request.rawHeaders)) {
      // Compressed bytes could not be searched.
      if (!/^(proxy-connection|accept-encoding|connection)$/i.test(name)) headers.push(name, value)
    }
    const onward = send(url, { method: request.method ?? 'GET', headers, setHost: false }, (answer) => {
      const status = answer.statusCode ?? 502
      const body: Buffer[] = []
      const keep = () =>
        this.#keep({
          method: request.method ?? '',
          url: url.href,
          sent: lines(headers),
          received: lines(answer.rawHeaders),
          status,
          body: Buffer.concat(body),
        })
      const kept =
        url.host === this.dropCookiesOf
          ? pairs(answer.rawHeaders)
              .filter(([name]) => !/^set-cookie$/i.test(name))
              .flat()
          : answer.rawHeaders
      response.writeHead(status, answer.statusMessage, kept)
      answer.on('data', (chunk: Buffer) => {
        body.push(chunk)
        response.write(chunk)
      })
      answer.once('end', () => (keep(), response.end()))
      answer.once('error', () => (keep(), response.destroy()))
    })
    onward.once('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()))
    response.once('close', () => onward.destroy())
    request.pipe(onward)
  }

  /** WebSockets come as tunnels. */
  #tunnel(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const url = URL.parse(`http://${request.url ?? ''}`)
    if (!url || !here.has(url.hostname)) {
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      return
    }
    const body: Buffer[] = []
    const onward = connect(Number(url.port), url.hostname.replace(/[[\]]/g, ''), () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      onward.write(head)
      socket.pipe(onward).pipe(socket)
    })
    onward.on('data', (chunk: Buffer) => body.push(chunk))
    onward.once('close', () => {
      this.#keep({ method: 'CONNECT', url: url.href, sent: [], received: [], status: 200, body: Buffer.concat(body) })
      socket.destroy()
    })
    onward.once('error', () => socket.destroy())
    socket.once('error', () => onward.destroy())
    socket.once('close', () => onward.destroy())
  }

  /** The app's files come again with every page: equal bodies are kept once. */
  #keep(exchange: Exchange): void {
    const hash = createHash('sha256').update(exchange.body).digest('base64')
    const body = this.#bodies.get(hash) ?? exchange.body
    this.#bodies.set(hash, body)
    this.exchanges.push({ ...exchange, body })
  }
}

function pairs(raw: readonly string[]): [string, string][] {
  return raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? ''] as [string, string]] : []))
}

function lines(raw: readonly string[]): string[] {
  return pairs(raw).map(([name, value]) => `${name}: ${value}`)
}
