import { describe, expect, it, vi } from 'vitest'
import { BffError, createClient, type ClientOptions } from './client'
import problem401 from './testdata/problem_401.json'

const bff = 'http://localhost:8000'

function answer(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return new Response(text, { status, headers: { 'Content-Type': 'application/json', ...headers } })
}

function clientThat(respond: () => Promise<Response>, options: ClientOptions = {}) {
  const fetch = vi.fn<typeof globalThis.fetch>(respond)
  return { client: createClient({ baseUrl: bff, fetch, ...options }), fetch }
}

async function failure(work: Promise<unknown>): Promise<BffError> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (cause: unknown) => cause,
  )
  if (!(error instanceof BffError)) throw error
  return error
}

function never(_input: unknown, init?: RequestInit): Promise<Response> {
  return new Promise((_resolve, reject) => {
    init?.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error))
  })
}

describe('every call', () => {
  it('sends the cookie and the CSRF header, to Genkan', async () => {
    const { client, fetch } = clientThat(() => Promise.resolve(answer(200, { hello: 'world' })))
    await client.get('/api/demo/hello')
    const [url, init] = fetch.mock.calls[0] ?? []
    expect((url as URL).href).toBe('http://localhost:8000/api/demo/hello')
    expect(init).toMatchObject({ method: 'GET', credentials: 'include', headers: { 'X-CSRF': '1' } })
  })

  it('sends JSON as JSON', async () => {
    const { client, fetch } = clientThat(() => Promise.resolve(answer(201, {})))
    await client.post('/api/demo/items', { a: 1 })
    expect(fetch.mock.calls[0]?.[1]).toMatchObject({
      method: 'POST',
      body: '{"a":1}',
      headers: { 'Content-Type': 'application/json', 'X-CSRF': '1' },
    })
  })

  it.each(['https://evil.example/', '//evil.example/', 'http://localhost:8001/'])(
    'goes nowhere else: %s',
    async (path) => {
      const { client, fetch } = clientThat(() => Promise.resolve(answer(200, {})))
      await expect(client.get(path)).rejects.toThrow('not a path')
      expect(fetch).not.toHaveBeenCalled()
    },
  )

  it('goes to the page’s own origin by default', () => {
    expect(createClient().base).toBe('http://localhost:5173')
    expect(createClient({ baseUrl: '' }).base).toBe('http://localhost:5173')
  })
})

describe('answers', () => {
  it('give status, data and request id', async () => {
    const { client } = clientThat(() => Promise.resolve(answer(200, { a: 1 }, { 'X-Request-Id': 'r1' })))
    expect(await client.get('/api/x')).toEqual({ status: 200, data: { a: 1 }, requestId: 'r1' })
  })

  it('may be empty', async () => {
    const { client } = clientThat(() => Promise.resolve(new Response(null, { status: 204 })))
    expect(await client.get('/api/x')).toEqual({ status: 204, data: undefined, requestId: '' })
  })

  it('that are a page instead of JSON are a failure on the way', async () => {
    const page = () => new Response('<!doctype html>', { headers: { 'Content-Type': 'text/html' } })
    const error = await failure(clientThat(() => Promise.resolve(page())).client.get('/bff/session'))
    expect([error.status, error.code, error.unreachable]).toEqual([200, 'not_json', true])
  })

  it('that only say they are JSON are told apart too', async () => {
    const error = await failure(clientThat(() => Promise.resolve(answer(200, '{"half":'))).client.get('/api/x'))
    expect(error.code).toBe('not_json')
  })
})

describe('problems', () => {
  it('keep all that the server says', async () => {
    const headers = { 'Content-Type': 'application/problem+json', 'Retry-After': '7' }
    const error = await failure(
      clientThat(() => Promise.resolve(answer(401, problem401, headers))).client.get('/api/x'),
    )
    expect(error).toMatchObject({
      status: 401,
      code: 'unauthenticated',
      title: 'Not signed in',
      detail: 'There is no live session for this browser.',
      requestId: '4f9d1c07a2b84e6d',
      loginUrl: 'http://localhost:8000/bff/login',
      retryAfter: 7,
      unreachable: false,
    })
  })

  it('of a service behind Genkan keep its body', async () => {
    const body = { error: 'no_such_item', message: 'there is no item 7' }
    const respond = () => Promise.resolve(answer(404, body, { 'X-Request-Id': 'r2' }))
    const error = await failure(clientThat(respond).client.get('/api/x'))
    expect(error).toMatchObject({
      status: 404,
      code: 'http',
      detail: 'there is no item 7',
      requestId: 'r2',
      body,
      unreachable: false,
    })
  })

  it('of a proxy whose target is down count as no answer', async () => {
    const respond = () => Promise.resolve(new Response('', { status: 502, headers: { 'Content-Type': 'text/plain' } }))
    const error = await failure(clientThat(respond).client.get('/bff/session'))
    expect([error.status, error.code, error.unreachable]).toEqual([502, 'http', true])
  })

  it('with a date to try again give seconds', async () => {
    const headers = { 'Retry-After': new Date(Date.now() + 30_000).toUTCString() }
    const error = await failure(clientThat(() => Promise.resolve(answer(503, {}, headers))).client.get('/api/x'))
    expect(error.retryAfter).toBeGreaterThanOrEqual(28)
    expect(error.retryAfter).toBeLessThanOrEqual(30)
  })

  it('with 401 are told to listeners, until they stop', async () => {
    const { client } = clientThat(() => Promise.resolve(answer(401, problem401)))
    const heard: string[] = []
    const stop = client.onUnauthorized(({ error }) => heard.push(error.code))
    await failure(client.get('/api/x'))
    stop()
    await failure(client.get('/api/x'))
    expect(heard).toEqual(['unauthenticated'])
  })
})

describe('no answer', () => {
  it('is a network failure, with its cause kept', async () => {
    const cause = new TypeError('Failed to fetch')
    const error = await failure(clientThat(() => Promise.reject(cause)).client.get('/api/x'))
    expect([error.status, error.code, error.unreachable, error.cause]).toEqual([0, 'network', true, cause])
  })

  it('in time is a time-out', async () => {
    const client = createClient({ baseUrl: bff, fetch: never, timeout: 5 })
    expect(await failure(client.get('/api/x'))).toMatchObject({ status: 0, code: 'timeout', unreachable: true })
  })

  it('because the caller gave up stays the caller’s reason', async () => {
    const stop = new AbortController()
    const client = createClient({ baseUrl: bff, fetch: never })
    const call = client.get('/api/x', { signal: stop.signal })
    stop.abort(new Error('the page was left'))
    await expect(call).rejects.toThrow('the page was left')
  })

  it.each([
    ['something listens', () => Promise.resolve(new Response()), 'refused'],
    ['nothing listens', () => Promise.reject(new TypeError('Failed to fetch')), 'down'],
  ])('is looked into: %s', async (_name, respond, want) => {
    const { client, fetch } = clientThat(respond)
    expect(await client.probe()).toBe(want)
    expect(fetch.mock.calls[0]?.[1]).toMatchObject({ mode: 'no-cors', credentials: 'omit' })
  })
})
