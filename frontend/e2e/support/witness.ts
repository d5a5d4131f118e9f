/**
 * Stands on a provider's port before the provider itself, which others wrote and which
 * does not tell what it gave to whom: it passes everything on as it comes and remembers
 * the forms that Genkan sent there, with the answers.
 */
import { createServer, request as send, type IncomingHttpHeaders, type Server } from 'node:http'

/** A form that a program sent, and the JSON it got. */
export interface Call {
  path: string
  headers: IncomingHttpHeaders
  form: URLSearchParams
  status: number
  answer: Readonly<Record<string, unknown>>
}

export class Witness {
  readonly calls: Call[] = []
  readonly #server: Server
  readonly #target: number

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer((request, response) => {
      const { method, headers, url: path } = request
      const form: Buffer[] = []
      request.on('data', (chunk: Buffer) => form.push(chunk))
      const onward = send({ host: '127.0.0.1', port: this.#target, method, path, headers }, (answer) => {
        const { statusCode: status = 502 } = answer
        const body: Buffer[] = []
        answer.on('data', (chunk: Buffer) => body.push(chunk))
        answer.once('end', () => {
          if (method !== 'POST' || !answer.headers['content-type']?.startsWith('application/json')) return
          this.calls.push({
            path: path ?? '',
            headers,
            form: new URLSearchParams(Buffer.concat(form).toString()),
            status,
            answer: JSON.parse(Buffer.concat(body).toString() || '{}') as Call['answer'],
          })
        })
        response.writeHead(status, answer.statusMessage, answer.rawHeaders)
        answer.pipe(response)
        answer.once('error', () => response.destroy())
      })
      onward.once('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()))
      response.once('close', () => onward.destroy())
      request.pipe(onward)
    })
  }

  static async start(port: number, target: number): Promise<Witness> {
    const witness = new Witness(target)
    await new Promise<void>((resolve, reject) => {
      witness.#server.once('error', reject).listen(port, '127.0.0.1', resolve)
    })
    return witness
  }

  /** Every token given out so far. */
  get tokens(): string[] {
    return this.#strings('access_token', 'refresh_token', 'id_token')
  }

  /** What Genkan proved itself by: client assertions and proofs of possession. */
  get proofs(): string[] {
    return this.calls
      .flatMap(({ headers, form }) => [form.get('client_assertion'), headers['dpop']])
      .filter((value) => typeof value === 'string')
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #strings(...names: readonly string[]): string[] {
    return this.calls
      .flatMap(({ answer }) => names.map((name) => answer[name]))
      .filter((value) => typeof value === 'string')
  }
}
