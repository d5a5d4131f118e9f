/**
 * The only place that calls `fetch` or opens an `EventSource`. It sends the session cookie and the CSRF header
 * with every call, bounds every wait, and turns whatever comes back into JSON or into
 * one kind of error. It keeps no token: there is none on this side.
 */
import { isFields, isProblem } from './types'

/** Codes this module adds to the server's own. */
export type LocalCode =
  | 'network' // no answer that this page may read: nothing listens, or CORS refuses
  | 'timeout' // no answer in time
  | 'http' // an error answer that is no problem+json of Genkan
  | 'not_json' // an answer that should be JSON and is not: most often a page

export interface BffErrorFacts {
  /** 0 when there was no answer at all. */
  status: number
  /** The server's `code`, or a LocalCode. */
  code: string
  title?: string
  detail?: string
  requestId?: string
  /** With 401: where to navigate to sign in, or to sign in more strongly. */
  loginUrl?: string
  /** Seconds to wait before another try; 0 when the server does not say. */
  retryAfter?: number
  /** The body, when it was JSON. */
  body?: unknown
}

/** What went wrong with a call. */
export class BffError extends Error {
  override readonly name = 'BffError'
  readonly status: number
  readonly code: string
  readonly title: string
  readonly detail: string
  readonly requestId: string
  readonly loginUrl: string
  readonly retryAfter: number
  readonly body: unknown

  constructor(facts: BffErrorFacts, cause?: unknown) {
    super(`${facts.status.toString()} ${facts.code}`, { cause })
    this.status = facts.status
    this.code = facts.code
    this.title = facts.title ?? ''
    this.detail = facts.detail ?? ''
    this.requestId = facts.requestId ?? ''
    this.loginUrl = facts.loginUrl ?? ''
    this.retryAfter = facts.retryAfter ?? 0
    this.body = facts.body
  }

  /** No answer of Genkan arrived: not its refusal, but a failure on the way to it. */
  get unreachable(): boolean {
    return this.status === 0 || this.code === 'not_json' || (this.code === 'http' && this.requestId === '')
  }
}

export interface ClientOptions {
  /** Origin of Genkan. Default: the page's own. */
  baseUrl?: string
  /** Prefix of Genkan's endpoints. Default `/bff`. */
  prefix?: string
  /** Milliseconds a call may take. Default 15000. */
  timeout?: number
  fetch?: typeof globalThis.fetch
  EventSource?: typeof globalThis.EventSource
}

export interface CallOptions {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Sent as JSON. */
  body?: unknown
  signal?: AbortSignal
  timeout?: number
}

export interface Answer {
  status: number
  /** Parsed JSON; undefined when the body is empty. */
  data: unknown
  requestId: string
}

/** A 401 and when its call began, so that a late one is not mistaken for news. */
export interface Unauthorized {
  error: BffError
  began: number
}

export type Client = ReturnType<typeof createClient>

export function createClient(options: ClientOptions = {}) {
  const base = new URL(options.baseUrl || location.origin).origin
  const prefix = options.prefix ?? '/bff'
  const fetch = options.fetch ?? globalThis.fetch.bind(globalThis)
  const limit = options.timeout ?? 15_000
  const listeners = new Set<(news: Unauthorized) => void>()

  /** Calls a path of Genkan or of a service behind it; fails with a BffError. */
  async function call(path: string, options: CallOptions = {}): Promise<Answer> {
    const began = performance.now()
    try {
      return await send(path, options)
    } catch (error) {
      if (error instanceof BffError && error.status === 401) {
        for (const tell of listeners) tell({ error, began })
      }
      throw error
    }
  }

  async function send(path: string, { method = 'GET', body, signal, timeout = limit }: CallOptions): Promise<Answer> {
    const url = address(path)
    const deadline = AbortSignal.timeout(timeout)
    const headers: Record<string, string> = { Accept: 'application/json', 'X-CSRF': '1' }
    const init: RequestInit = { method, headers, credentials: 'include', cache: 'no-store' }
    if (body !== undefined) {
      headers['Content-Type'] = 'application/json'
      init.body = JSON.stringify(body)
    }
    init.signal = signal ? AbortSignal.any([signal, deadline]) : deadline
    try {
      const response = await fetch(url, init)
      return read(response, await response.text())
    } catch (error) {
      if (error instanceof BffError || signal?.aborted) throw error
      throw new BffError({ status: 0, code: deadline.aborted ? 'timeout' : 'network' }, error)
    }
  }

  /** Only Genkan is ever sent the cookie: a path that leads elsewhere is a mistake. */
  function address(path: string): URL {
    const url = new URL(path, base)
    if (url.origin !== base) throw new TypeError(`not a path: ${path}`)
    return url
  }

  /**
   * After a network failure: does anything listen there? `refused` means that a server
   * answers but lets this origin read nothing (CORS); `down` that none answers.
   */
  async function probe(): Promise<'refused' | 'down'> {
    if (base === location.origin) return 'down'
    try {
      const signal = AbortSignal.timeout(5_000)
      await fetch(address(`${prefix}/assets/page.css`), { mode: 'no-cors', credentials: 'omit', signal })
      return 'refused'
    } catch {
      return 'down'
    }
  }

  /** Opens the stream of what happens to the session. */
  function stream(): EventSource {
    return new (options.EventSource ?? globalThis.EventSource)(address(`${prefix}/events`), { withCredentials: true })
  }

  return {
    base,
    prefix,
    call,
    probe,
    stream,
    get: (path: string, options?: CallOptions) => call(path, options),
    post: (path: string, body?: unknown, options?: CallOptions) => call(path, { ...options, method: 'POST', body }),
    /** Hears of every 401. Returns the way to stop. */
    onUnauthorized(listener: (news: Unauthorized) => void): () => void {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function read(response: Response, text: string): Answer {
  const { status, headers } = response
  const requestId = headers.get('X-Request-Id') ?? ''
  const kind = headers.get('Content-Type') ?? ''
  const json = /^application\/([\w.-]+\+)?json\b/i.test(kind)
  const data = json ? parse(text) : undefined
  if (response.ok) {
    if (text !== '' && data === undefined) throw new BffError({ status, code: 'not_json', requestId })
    return { status, data, requestId }
  }
  const common = { status, requestId, retryAfter: retryAfter(headers.get('Retry-After')), body: data }
  if (!isProblem(data)) throw new BffError({ ...common, code: 'http', ...described(data) })
  throw new BffError({
    ...common,
    code: data.code,
    title: data.title,
    detail: data.detail ?? '',
    requestId: data.request_id ?? requestId,
    loginUrl: data.login_url ?? '',
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** A service behind Genkan may describe its error in its own way. */
function described(data: unknown): { detail?: string } {
  if (!isFields(data)) return {}
  const detail = data['detail'] ?? data['message'] ?? data['error_description']
  return typeof detail === 'string' ? { detail } : {}
}

/** Retry-After is seconds or a date (RFC 9110 10.2.3). */
function retryAfter(value: string | null): number {
  if (value === null) return 0
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : 0
}
