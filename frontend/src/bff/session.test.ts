import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createApp, h, type App } from 'vue'
import { createClient } from './client'
import { FakeLocks, fakeStreams } from './fakes'
import { createSession, useSession, type Session } from './session'
import events from './testdata/events.json'
import problem401 from './testdata/problem_401.json'
import sessionIn from './testdata/session_in.json'
import sessionOut from './testdata/session_out.json'

const bff = 'http://localhost:8000'
const later = { ...sessionIn, session: { ...sessionIn.session, id: 'anotherSession' } }

/** A server whose next answers are written by the test. */
class Server {
  answers: (() => Promise<Response>)[] = []
  otherwise: (() => Promise<Response>) | undefined
  asked: string[] = []

  will(status: number, body: unknown, headers: Record<string, string> = {}): this {
    this.answers.push(() =>
      Promise.resolve(
        new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json', ...headers } }),
      ),
    )
    return this
  }

  /** What it says from now on to whatever is not in `answers`. */
  says(body: unknown): void {
    this.otherwise = () =>
      Promise.resolve(new Response(JSON.stringify(body), { headers: { 'Content-Type': 'application/json' } }))
  }

  willFail(): this {
    this.answers.push(() => Promise.reject(new TypeError('Failed to fetch')))
    return this
  }

  /** Answers when the test says so. */
  willWait(): (status: number, body: unknown) => void {
    let answer: (response: Response) => void = () => undefined
    this.answers.push(() => new Promise((resolve) => (answer = resolve)))
    return (status, body) => {
      answer(new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } }))
    }
  }

  fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input)
    this.asked.push(`${init?.method ?? 'GET'} ${url.pathname}${url.search}`)
    const answer = this.answers.shift() ?? this.otherwise
    if (!answer) throw new Error(`unexpected: ${this.asked.at(-1) ?? ''}`)
    return answer()
  }
}

/** A tab's storage. */
class FakeStorage {
  readonly items = new Map<string, string>()
  getItem = (name: string): string | null => this.items.get(name) ?? null
  setItem = (name: string, value: string): void => void this.items.set(name, value)
  removeItem = (name: string): void => void this.items.delete(name)
}

/** A window that goes nowhere, with events of its own. */
function fakeWindow(href = 'http://localhost:5173/profile?tab=1#claims') {
  const location = { href, origin: new URL(href).origin, assign: vi.fn<(url: string) => void>() }
  const document = Object.assign(new EventTarget(), { visibilityState: 'visible' })
  const navigator = { locks: locks?.manager }
  const win = Object.assign(new EventTarget(), { location, document, navigator, sessionStorage: storage })
  return { win: win as unknown as Window, assign: location.assign, document }
}

let server: Server
let streams: ReturnType<typeof fakeStreams>
/** A browser without them gives no stream. */
let locks: FakeLocks | undefined
let stops: (() => void)[]
let storage: FakeStorage

function sessionOf(options: { now?: () => number } = {}) {
  const fake = fakeWindow()
  const client = createClient({ baseUrl: bff, fetch: server.fetch, EventSource: streams.EventSource })
  const session = createSession(client, { window: fake.win, ...options })
  stops.push(session.stop)
  return { session, client, ...fake }
}

async function started(options: { now?: () => number } = {}) {
  const parts = sessionOf(options)
  parts.session.start()
  await parts.session.ready()
  return parts
}

beforeEach(() => {
  server = new Server()
  streams = fakeStreams()
  locks = undefined
  stops = []
  storage = new FakeStorage()
})

afterEach(() => {
  for (const stop of stops) stop()
  vi.useRealTimers()
})

describe('the first answer', () => {
  it('is unknown until it comes, and counts as activity', async () => {
    server.will(200, sessionIn)
    const { session } = sessionOf()
    expect(session.status.value).toBe('unknown')
    session.start()
    expect((await session.ready()).status).toBe('in')
    expect(server.asked).toEqual(['GET /bff/session'])
  })

  it('signed in: has the user and when it ends, on this clock', async () => {
    server.will(200, sessionIn)
    const { session } = await started({ now: () => 1_000_000 })
    expect(session.state.value).toMatchObject({
      status: 'in',
      user: { sub: 'alice', name: 'Alice Adams' },
      idleEndsAt: 1_000_000 + 3_600_000,
      absoluteEndsAt: 1_000_000 + 43_200_000,
      endsAt: 1_000_000 + 3_600_000,
    })
  })

  it('signed out: has the ways to sign in', async () => {
    server.will(200, sessionOut)
    const { session } = await started()
    expect(session.state.value).toMatchObject({ status: 'out', providers: [{ id: 'dev' }, { id: 'okta' }] })
  })

  it.each([
    ['the network fails', (s: Server) => s.willFail(), 'network'],
    ['the store is down', (s: Server) => s.will(503, { code: 'store_unavailable', status: 503 }), 'store_unavailable'],
    ['something else answers', (s: Server) => s.will(200, { hello: 'world' }), 'not_json'],
  ])('is unavailable when %s', async (_name, break_, code) => {
    break_(server)
    const { session } = await started()
    expect(session.state.value).toMatchObject({ status: 'unavailable', error: { code } })
  })

  it('is asked for again by itself, slower each time', async () => {
    vi.useFakeTimers()
    server.willFail().willFail().will(200, sessionIn)
    const { session } = await started()
    await vi.advanceTimersByTimeAsync(4_999)
    expect(server.asked).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(server.asked).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(9_999)
    expect(server.asked).toHaveLength(2)
    await vi.advanceTimersByTimeAsync(1)
    expect(session.status.value).toBe('in')
  })
})

describe('a live session', () => {
  it('that is gone is expired, and remembers who it was', async () => {
    server.will(200, sessionIn).will(200, sessionOut)
    const { session } = await started()
    await session.check()
    expect(session.state.value).toMatchObject({ status: 'expired', user: { sub: 'alice' }, provider: 'dev' })
    expect(session.user.value?.sub).toBe('alice')
  })

  it('stays through failures of the network and the store', async () => {
    server.will(200, sessionIn).willFail().will(503, { code: 'store_unavailable', status: 503 }).will(200, sessionIn)
    const { session } = await started()
    await session.check()
    expect([session.status.value, session.trouble.value?.code]).toEqual(['in', 'network'])
    await session.check()
    expect([session.status.value, session.trouble.value?.code]).toEqual(['in', 'store_unavailable'])
    await session.check()
    expect([session.status.value, session.trouble.value]).toEqual(['in', undefined])
  })

  it.each(['unauthenticated', 'session_expired'])('expires at once by a 401 %s of any call', async (code) => {
    server.will(200, sessionIn).will(401, { ...problem401, code })
    const { session, client } = await started()
    await client.get('/api/demo/hello').catch(() => undefined)
    expect(session.status.value).toBe('expired')
  })

  it('asks when a service behind Genkan answers 401, and believes the answer', async () => {
    server.will(200, sessionIn).will(401, { error: 'nope' }).will(200, sessionIn)
    const { session, client } = await started()
    await client.get('/api/demo/hello').catch(() => undefined)
    await vi.waitFor(() => expect(server.asked).toHaveLength(3))
    expect(session.status.value).toBe('in')
  })

  it('is not over when a call needs a stronger sign-in', async () => {
    server.will(200, sessionIn).will(401, { ...problem401, code: 'insufficient_user_authentication' })
    const { session, client } = await started()
    await client.get('/api/demo/hello').catch(() => undefined)
    expect([session.status.value, server.asked.length]).toEqual(['in', 2])
  })

  it('comes back when the user signed in again', async () => {
    server.will(200, sessionIn).will(200, sessionOut).will(200, later)
    const { session } = await started()
    await session.check()
    await session.check()
    expect(session.state.value).toMatchObject({ status: 'in', session: { id: 'anotherSession' } })
  })

  it('is renewed by refresh', async () => {
    server.will(200, sessionIn).will(200, { ...sessionIn, session: { ...sessionIn.session, idle_expires_in: 1234 } })
    const { session } = await started({ now: () => 0 })
    await session.refresh()
    expect(server.asked.at(-1)).toBe('POST /bff/refresh')
    expect(session.state.value).toMatchObject({ status: 'in', idleEndsAt: 1_234_000 })
  })

  it('expires when refresh is refused', async () => {
    server.will(200, sessionIn).will(401, { ...problem401, code: 'session_expired' })
    const { session } = await started()
    await expect(session.refresh()).rejects.toMatchObject({ code: 'session_expired' })
    expect(session.status.value).toBe('expired')
  })
})

describe('late answers', () => {
  it('of an older question are dropped', async () => {
    server.will(200, sessionOut)
    const { session } = await started()
    const first = server.willWait()
    const second = server.willWait()
    const checks = [session.check(), session.check()]
    second(200, sessionIn)
    await vi.waitFor(() => expect(session.status.value).toBe('in'))
    first(200, sessionOut)
    await Promise.all(checks)
    expect(session.status.value).toBe('in')
  })

  it('do not sign in again after sign-out', async () => {
    server.will(200, sessionIn)
    const { session } = await started()
    const answer = server.willWait()
    server.will(200, { url: 'http://127.0.0.1:9000/logout' })
    const check = session.check()
    await session.logout()
    answer(200, sessionIn)
    await check
    expect(session.status.value).toBe('out')
  })

  it('with 401 of a call that began before this session are no news', async () => {
    server.will(200, sessionIn)
    const { session, client } = await started()
    const late = server.willWait()
    const call = client.get('/api/slow').catch(() => undefined)
    server.will(200, later).will(200, later)
    await new Promise((resolve) => setTimeout(resolve, 2))
    await session.check()
    late(401, problem401)
    await call
    await vi.waitFor(() => expect(server.asked).toHaveLength(4))
    expect(session.status.value).toBe('in')
  })
})

describe('the clock', () => {
  it('asks a minute before the end, without counting as activity, and again after it', async () => {
    vi.useFakeTimers()
    server.will(200, sessionIn)
    const { session } = await started()
    server.will(200, { ...sessionIn, session: { ...sessionIn.session, idle_expires_in: 60 } })
    await vi.advanceTimersByTimeAsync(3_540_000 - 1)
    expect(server.asked).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(server.asked).toEqual(['GET /bff/session', 'GET /bff/session?slide=false'])
    server.will(200, sessionOut)
    await vi.advanceTimersByTimeAsync(61_000)
    expect(session.status.value).toBe('expired')
    await vi.advanceTimersByTimeAsync(86_400_000)
    expect(server.asked).toHaveLength(3)
  })

  it('does not ask in a frenzy when the server says zero', async () => {
    vi.useFakeTimers()
    const zero = { ...sessionIn, session: { ...sessionIn.session, idle_expires_in: 0 } }
    server.will(200, zero).will(200, zero).will(200, zero).will(200, zero)
    await started()
    await vi.advanceTimersByTimeAsync(14_999)
    expect(server.asked).toHaveLength(3)
  })
})

describe('coming back to the page', () => {
  it('asks when the tab is seen again after a while', async () => {
    let now = 0
    server.will(200, sessionIn).will(200, sessionOut)
    const { session, document } = await started({ now: () => now })
    now = 9_000
    document.dispatchEvent(new Event('visibilitychange'))
    expect(server.asked).toHaveLength(1)
    now = 11_000
    document.dispatchEvent(new Event('visibilitychange'))
    await vi.waitFor(() => expect(session.status.value).toBe('expired'))
  })

  it('asks when the browser shows the page as it was left', async () => {
    server.will(200, sessionIn).will(200, sessionOut)
    const { session, win } = await started()
    win.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: false }))
    expect(server.asked).toHaveLength(1)
    win.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }))
    await vi.waitFor(() => expect(session.status.value).toBe('expired'))
  })

  it('asks when the network is back', async () => {
    server.willFail().will(200, sessionOut)
    const { session, win } = await started()
    win.dispatchEvent(new Event('online'))
    await vi.waitFor(() => expect(session.status.value).toBe('out'))
  })
})

describe('two tabs', () => {
  it('notice sign-out in the other one', async () => {
    server.says(sessionIn)
    const one = await started()
    const two = await started()
    server.says(sessionOut)
    server.will(200, { url: '/' })
    await one.session.logout()
    await vi.waitFor(() => expect(two.session.state.value).toMatchObject({ status: 'out', reason: 'signed_out' }))
    expect(one.session.state.value).not.toHaveProperty('reason')
  })

  it('notice sign-in in the other one', async () => {
    server.says(sessionOut)
    const one = await started()
    server.says(sessionIn)
    await started()
    await vi.waitFor(() => expect(one.session.status.value).toBe('in'))
  })

  it('notice that the session has ended, which is not a sign-out', async () => {
    server.says(sessionIn)
    const one = await started()
    const two = await started()
    server.says(sessionOut)
    await one.session.check()
    await vi.waitFor(() => expect(two.session.status.value).toBe('expired'))
  })

  it('do not take a new tab that finds nobody for a sign-out', async () => {
    server.says(sessionIn)
    const one = await started()
    server.says(sessionOut)
    await started()
    await vi.waitFor(() => expect(one.session.status.value).toBe('expired'))
  })

  it('do not wake each other when nothing changed', async () => {
    server.says(sessionIn)
    await started()
    const two = await started()
    await two.session.check()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(server.asked).toHaveLength(3)
  })
})

describe('what the server says', () => {
  beforeEach(() => (locks = new FakeLocks()))

  /** Signed in, with the stream open. */
  async function listening() {
    server.says(sessionIn)
    const parts = await started({ now: () => 0 })
    await vi.waitFor(() => expect(streams.open()).toHaveLength(1))
    return parts
  }

  it.each([
    ['signed_out', { status: 'out', reason: 'signed_out' }],
    ['revoked', { status: 'out', reason: 'revoked' }],
    ['provider', { status: 'out', reason: 'provider' }],
    ['limit', { status: 'expired', reason: 'limit', user: { sub: 'alice' } }],
    ['refused', { status: 'expired', reason: 'refused', user: { sub: 'alice' } }],
    ['expired', { status: 'expired', reason: 'expired', user: { sub: 'alice' } }],
    ['ended', { status: 'expired', reason: 'ended', user: { sub: 'alice' } }],
  ])('about the end, %s, is asked for at once and told in every tab', async (reason, want) => {
    const one = await listening()
    const two = await started()
    server.says(sessionOut)
    streams.open()[0]?.says('ended', { reason })
    await vi.waitFor(() => expect([one, two].map((tab) => tab.session.state.value)).toMatchObject([want, want]))
    expect(streams.open()).toEqual([])
    await one.session.check()
    expect(one.session.state.value).toMatchObject(want)
  })

  it('about the end is not believed against the answer', async () => {
    const { session } = await listening()
    server.says(later) // signed in anew, here
    streams.open()[0]?.says('ended', { reason: 'revoked' })
    await vi.waitFor(() =>
      expect(session.state.value).toMatchObject({ status: 'in', session: { id: 'anotherSession' } }),
    )
    await vi.waitFor(() => expect([streams.all.length, streams.open().length]).toEqual([2, 1]))
    server.says(sessionOut)
    await session.check()
    expect(session.state.value).toMatchObject({ status: 'expired', reason: 'ended' })
  })

  it('about the end of a sign-out in this tab is no news', async () => {
    const { session } = await listening()
    const answer = server.willWait()
    server.says(sessionOut)
    const logout = session.logout()
    streams.open()[0]?.says('ended', { reason: 'signed_out' })
    await vi.waitFor(() => expect(session.status.value).toBe('out'))
    expect(session.state.value).not.toHaveProperty('reason')
    answer(200, { url: '/' })
    await logout
    expect(session.state.value).not.toHaveProperty('reason')
  })

  it('about the time that is left counts, without a question', async () => {
    const { session } = await listening()
    streams.open()[0]?.says('expiring', events.expiring)
    expect(session.state.value).toMatchObject({ idleEndsAt: 60_000, absoluteEndsAt: 39_600_000, endsAt: 60_000 })
    streams.open()[0]?.says('refreshed', events.refreshed)
    expect(session.state.value).toMatchObject({ idleEndsAt: 3_600_000, endsAt: 3_600_000, user: { sub: 'alice' } })
    expect(server.asked).toHaveLength(1)
  })

  it('is not listened to once the session is over', async () => {
    const { session } = await listening()
    server.says(sessionOut)
    await session.check()
    expect([session.status.value, streams.open().length]).toEqual(['expired', 0])
  })

  it('by refusing the stream is a reason to ask', async () => {
    const { session } = await listening()
    server.says(sessionOut)
    streams.open()[0]?.isRefused()
    await vi.waitFor(() => expect(session.state.value).toMatchObject({ status: 'expired', reason: 'ended' }))
    expect(streams.all).toHaveLength(1)
  })

  it('is not heard by a page that is kept for the back button, and is again when it is back', async () => {
    const { win } = await listening()
    win.dispatchEvent(new Event('pagehide'))
    expect(streams.open()).toEqual([])
    win.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }))
    await vi.waitFor(() => expect(streams.open()).toHaveLength(1))
  })

  it('is heard no more when the app is gone', async () => {
    const { session } = await listening()
    session.stop()
    expect(streams.open()).toEqual([])
  })

  it('is not listened to by who is signed out', async () => {
    server.says(sessionOut)
    await started()
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(streams.all).toEqual([])
  })
})

describe('login', () => {
  it.each([
    ['comes back to this page', {}, 'returnUrl=http%3A%2F%2Flocalhost%3A5173%2Fprofile%3Ftab%3D1%23claims'],
    ['comes back elsewhere', { returnUrl: '/demo' }, 'returnUrl=http%3A%2F%2Flocalhost%3A5173%2Fdemo'],
    [
      'takes a provider and a prompt',
      { returnUrl: '/', provider: 'okta', prompt: 'login' as const },
      'provider=okta&prompt=login&returnUrl=http%3A%2F%2Flocalhost%3A5173%2F',
    ],
    [
      'cuts what is too long to come back to',
      { returnUrl: `/a?q=${'x'.repeat(2048)}#top` },
      'returnUrl=http%3A%2F%2Flocalhost%3A5173%2Fa',
    ],
    [
      'steps up by a problem’s address',
      { returnUrl: '/', loginUrl: `${bff}/bff/login?acr_values=mfa` },
      'acr_values=mfa&returnUrl=http%3A%2F%2Flocalhost%3A5173%2F',
    ],
    [
      'ignores an address that is not Genkan’s',
      { returnUrl: '/', loginUrl: 'https://evil.example/bff/login?acr_values=mfa' },
      'returnUrl=http%3A%2F%2Flocalhost%3A5173%2F',
    ],
    [
      'ignores an address that is a script',
      { returnUrl: '/', loginUrl: 'javascript:alert(1)' },
      'returnUrl=http%3A%2F%2Flocalhost%3A5173%2F',
    ],
  ])('%s', (_name, options, query) => {
    const { session, assign } = sessionOf()
    session.login(options)
    expect(assign.mock.calls).toEqual([[`http://localhost:8000/bff/login?${query}`]])
  })
})

describe('silent login', () => {
  const address =
    'http://localhost:8000/bff/login?prompt=none&returnUrl=http%3A%2F%2Flocalhost%3A5173%2Fprofile%3Ftab%3D1%23claims'

  it('leaves for the provider once per tab, over page loads', async () => {
    server.will(200, sessionOut).will(200, sessionOut)
    const first = await started()
    expect(first.session.loginSilently()).toBe(true)
    expect(first.assign.mock.calls).toEqual([[address]])
    const second = await started()
    expect(second.session.loginSilently()).toBe(false)
    expect(second.assign).not.toHaveBeenCalled()
    expect([...storage.items.values()]).toEqual(['1'])
  })

  it('asks a provider of choice', async () => {
    server.will(200, sessionOut)
    const { session, assign } = await started()
    session.loginSilently({ provider: 'okta', returnUrl: '/' })
    expect(assign.mock.calls).toEqual([
      ['http://localhost:8000/bff/login?provider=okta&prompt=none&returnUrl=http%3A%2F%2Flocalhost%3A5173%2F'],
    ])
  })

  it('may be tried again after a session', async () => {
    server.will(200, sessionOut).will(200, sessionIn).will(200, sessionOut)
    for (const want of [true, false, true]) expect((await started()).session.loginSilently()).toBe(want)
  })

  it('is not for somebody who has signed out', async () => {
    server.will(200, sessionIn).will(200, { url: 'http://127.0.0.1:9000/logout' }).will(200, sessionOut)
    const { session, assign } = await started()
    await session.logout()
    assign.mockClear()
    expect(session.loginSilently()).toBe(false)
    expect((await started()).session.loginSilently()).toBe(false)
    expect(assign).not.toHaveBeenCalled()
  })

  it('waits for an answer that nobody is signed in', async () => {
    const { session, assign } = sessionOf()
    expect(session.loginSilently()).toBe(false)
    server.willFail()
    session.start()
    await session.ready()
    expect(session.loginSilently()).toBe(false)
    expect([assign.mock.calls.length, storage.items.size]).toEqual([0, 0])
  })

  it('is none where nothing can be stored', async () => {
    server.will(200, sessionOut)
    const { session, win, assign } = sessionOf()
    Object.defineProperty(win, 'sessionStorage', {
      get: () => {
        throw new DOMException('denied', 'SecurityError')
      },
    })
    session.start()
    await session.ready()
    expect(session.loginSilently()).toBe(false)
    expect(assign).not.toHaveBeenCalled()
  })
})

describe('logout', () => {
  it.each([
    ['goes where the server says', { url: 'http://127.0.0.1:9000/logout?x=1' }, 'http://127.0.0.1:9000/logout?x=1'],
    ['never to a script', { url: 'javascript:alert(1)' }, 'http://localhost:5173/signed-out'],
    ['never to nothing', {}, 'http://localhost:5173/signed-out'],
  ])('%s', async (_name, body, want) => {
    server.will(200, sessionIn).will(200, body)
    const { session, assign } = await started()
    await session.logout({ returnUrl: '/signed-out' })
    expect(server.asked.at(-1)).toBe('POST /bff/logout?returnUrl=http%3A%2F%2Flocalhost%3A5173%2Fsigned-out')
    expect(assign.mock.calls).toEqual([[want]])
    expect(session.status.value).toBe('out')
  })

  it('that fails leaves the session as it is', async () => {
    server.will(200, sessionIn).willFail()
    const { session, assign } = await started()
    await expect(session.logout()).rejects.toMatchObject({ code: 'network' })
    expect([session.status.value, assign.mock.calls.length]).toEqual(['in', 0])
  })

  it('that fails is not why the session ends later', async () => {
    server.will(200, sessionIn).willFail().will(200, sessionOut)
    const { session } = await started()
    await expect(session.logout()).rejects.toMatchObject({ code: 'network' })
    await session.check()
    expect(session.state.value).toMatchObject({ status: 'expired', reason: 'ended' })
  })
})

describe('the plugin', () => {
  it('gives components the session and stops with the app', async () => {
    server.will(200, sessionIn)
    const { session, win } = sessionOf()
    let seen: Session | undefined
    const app: App = createApp({
      setup() {
        seen = useSession()
        return () => h('p')
      },
    })
    app.use(session).mount(document.createElement('div'))
    expect(seen).toBe(session)
    await session.ready()
    app.unmount()
    win.dispatchEvent(new Event('online'))
    expect(server.asked).toHaveLength(1)
  })

  it('is missed loudly', () => {
    const app = createApp({ setup: () => (useSession(), () => h('p')) })
    app.config.warnHandler = () => undefined
    expect(() => app.mount(document.createElement('div'))).toThrow('no session is installed')
  })
})
