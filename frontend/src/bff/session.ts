/**
 * Who is signed in, as far as this browser tab can know. The truth is the server's:
 * every state here is an answer of `/bff/session`, and only the newest one counts.
 * Nothing of it is stored; other tabs are told by BroadcastChannel and ask for themselves.
 * The server's events say when to ask, and until when the session lasts.
 */
import { computed, inject, readonly, shallowRef, watch, type App, type InjectionKey, type ShallowRef } from 'vue'
import { BffError, type Client, type Unauthorized } from './client'
import { createEvents } from './events'
import { afterLogout, loginAddress, type LoginOptions } from './navigation'
import { createOnce } from './once'
import {
  isSessionAnswer,
  type Claims,
  type EndReason,
  type Provider,
  type SessionEvent,
  type SessionInfo,
  type SignedIn,
} from './types'

export type SessionState =
  | { status: 'unknown' }
  /** With a reason when somebody ended it, and not in this tab. */
  | { status: 'out'; providers: readonly Provider[]; reason?: EndReason }
  | { status: 'in'; user: Claims; session: SessionInfo; idleEndsAt: number; absoluteEndsAt: number; endsAt: number }
  /** It was `in` and ended by itself; `user` is who may want to sign in again. */
  | { status: 'expired'; user: Claims; provider: string; reason: EndReason }
  /** The first answer never came. */
  | { status: 'unavailable'; error: BffError }

export interface SessionOptions {
  window?: Window
  /** Milliseconds, as Date.now. */
  now?: () => number
}

/** What tabs tell each other: that something changed, never who or what. */
interface News {
  status: 'in' | 'out' | 'expired'
  id: string
  /** Why it is not `in`, where that is known. */
  reason?: EndReason
}

export type Session = ReturnType<typeof createSession>

const key: InjectionKey<Session> = Symbol('session')

/** Before the end, ask once more: calls of this or another tab may have moved it. */
const warning = 60_000
/** No more questions than this, whatever the server or the user does. */
const shortest = 5_000
const longest = 2 ** 31 - 1

export function createSession(client: Client, options: SessionOptions = {}) {
  const win = options.window ?? window
  const now = options.now ?? Date.now
  const state = shallowRef<SessionState>({ status: 'unknown' })
  /** The newest question's failure, while an older answer still stands. */
  const trouble = shallowRef<BffError>()
  const lifetime = new AbortController()
  const silent = createOnce(win, 'genkan-silent')
  const channel = new BroadcastChannel('genkan-session')
  const events = createEvents(client, { locks: locksOf(win), hear: happen, refused: () => void check() })
  let turn = 0
  let failures = 0
  let askedAt = -Infinity
  let enteredAt = -Infinity
  /** Why the session has ended or is about to, as far as it was said; `here`: signed out in this tab. */
  let cause: EndReason | 'here' | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  /** Asks the server. Only `slide` counts as activity. Never fails: see `state`. */
  async function check({ slide = false } = {}): Promise<void> {
    const mine = ++turn
    askedAt = now()
    try {
      const { data } = await client.get(`${client.prefix}/session${slide ? '' : '?slide=false'}`)
      if (!isSessionAnswer(data)) throw new BffError({ status: 200, code: 'not_json' })
      if (mine !== turn) return
      if (data.authenticated) enter(data)
      else leave(data.providers)
    } catch (error) {
      if (mine === turn) fail(asBffError(error))
    }
  }

  function enter({ user, session }: Pick<SignedIn, 'user' | 'session'>): void {
    const idleEndsAt = now() + session.idle_expires_in * 1000
    const absoluteEndsAt = now() + session.absolute_expires_in * 1000
    cause = undefined
    silent.reset()
    settle({ status: 'in', user, session, idleEndsAt, absoluteEndsAt, endsAt: Math.min(idleEndsAt, absoluteEndsAt) })
  }

  /** What somebody ended is gone from the page; what ended by itself can be gone on with. */
  function leave(providers: readonly Provider[]): void {
    const was = state.value
    if (cause === 'here' || cause === 'signed_out' || cause === 'revoked' || cause === 'provider') silent.take() // or they were back in at once
    if (cause === 'here') {
      settle({ status: 'out', providers })
    } else if (cause === 'signed_out' || cause === 'revoked' || cause === 'provider') {
      settle({ status: 'out', providers, reason: cause })
    } else if (was.status === 'in') {
      settle({ status: 'expired', user: was.user, provider: was.session.provider, reason: cause ?? 'ended' })
    } else {
      settle(was.status === 'expired' ? was : { status: 'out', providers })
    }
  }

  function settle(next: SessionState): void {
    const was = state.value
    failures = 0
    trouble.value = undefined
    state.value = next
    events.follow(next.status === 'in' ? next.session.id : '')
    if (!same(newsOf(was), newsOf(next))) tell(was, next)
    if (next.status === 'in') {
      const left = next.endsAt - now()
      askAfter(left > warning + shortest ? left - warning : left + 1000)
    } else {
      clearTimeout(timer)
    }
  }

  /** Tells the other tabs. Finding nobody here is no sign-out: they shall ask. */
  function tell(was: SessionState, next: SessionState): void {
    if (next.status === 'in') enteredAt = performance.now()
    const found = was.status === 'unknown' || was.status === 'unavailable'
    const news = newsOf(next)
    if (news) channel.postMessage(found && news.status === 'out' ? { status: 'expired', id: '' } : news)
  }

  /** A server that cannot be asked ends no session. */
  function fail(error: BffError): void {
    failures++
    trouble.value = error
    if (state.value.status === 'unknown' || state.value.status === 'unavailable') {
      state.value = { status: 'unavailable', error }
    }
    askAfter(Math.max(error.retryAfter * 1000, shortest * 2 ** Math.min(failures - 1, 6)))
  }

  function askAfter(wait: number): void {
    clearTimeout(timer)
    timer = setTimeout(() => void check(), Math.min(Math.max(wait, shortest), longest))
  }

  /** A 401 of Genkan itself is news; anybody else's is a reason to ask. */
  function unauthorized({ error, began }: Unauthorized): void {
    if (state.value.status !== 'in' || error.code === 'insufficient_user_authentication') return
    const ours = error.code === 'unauthenticated' || error.code === 'session_expired'
    if (ours && began >= enteredAt) {
      turn++
      leave([])
    } else {
      void check()
    }
  }

  function hear({ data }: MessageEvent<News>): void {
    if (same(newsOf(state.value), data)) return
    if (data.status === 'expired' && state.value.status !== 'in') return
    if (data.status !== 'in') cause = data.reason ?? cause
    void check()
  }

  /** The server said something about this session. Its end is for the answer to confirm. */
  function happen(event: SessionEvent): void {
    const is = state.value
    if (is.status !== 'in') return
    if (event.name === 'ended') {
      cause ??= event.data.reason
      void check()
    } else {
      enter({ user: is.user, session: { ...is.session, ...event.data } })
    }
  }

  function look(): void {
    if (win.document.visibilityState === 'visible' && now() - askedAt > 2 * shortest) void check()
  }

  /** Leaves for the provider's pages. The page is over when this returns. */
  function login(options: LoginOptions = {}): void {
    win.location.assign(loginAddress(client, win.location.href, options))
  }

  /**
   * Leaves to ask the provider, without any page of its own, whether it knows who is
   * here, and comes back to `returnUrl`, signed in or not. False, and nothing happens,
   * when nobody is known to be signed out, when somebody signed out on purpose, and when
   * this tab has asked before: an app may call this at every start.
   */
  function loginSilently(options: Omit<LoginOptions, 'prompt'> = {}): boolean {
    const { status } = state.value
    if ((status !== 'out' && status !== 'expired') || !silent.take()) return false
    login({ ...options, prompt: 'none' })
    return true
  }

  /** Ends the session here and at the provider, then goes where the server says. */
  async function logout({ returnUrl = '/' }: { returnUrl?: string } = {}): Promise<void> {
    const back = new URL(returnUrl, win.location.href).href
    const path = `${client.prefix}/logout?${new URLSearchParams({ returnUrl: back }).toString()}`
    cause = 'here' // the event may be here before the answer
    const { data } = await client.post(path).catch((error: unknown) => {
      cause = undefined
      throw error
    })
    turn++
    cause = 'here'
    leave([])
    win.location.assign(afterLogout(client, data, back))
  }

  /** Renews the tokens now and counts as activity. Fails with a BffError. */
  async function refresh(): Promise<void> {
    const mine = ++turn
    const { data } = await client.post(`${client.prefix}/refresh`)
    if (!isSessionAnswer(data) || !data.authenticated) throw new BffError({ status: 200, code: 'not_json' })
    if (mine === turn) enter(data)
  }

  /** Resolves with the first state that is an answer, or says why there is none. */
  function ready(): Promise<SessionState> {
    return new Promise((resolve) => {
      if (state.value.status !== 'unknown') {
        resolve(state.value)
        return
      }
      const unwatch = watch(
        state,
        (first) => {
          unwatch()
          resolve(first)
        },
        { flush: 'sync' },
      )
    })
  }

  function start(): void {
    const { signal } = lifetime
    client.onUnauthorized(unauthorized)
    channel.addEventListener('message', hear)
    win.document.addEventListener('visibilitychange', look, { signal })
    win.addEventListener('online', () => void check(), { signal })
    win.addEventListener('pageshow', (event) => event.persisted && void check(), { signal })
    // A page that is kept for the back button has no stream, or it could not be kept.
    win.addEventListener('pagehide', () => events.follow(''), { signal })
    void check({ slide: true })
  }

  function stop(): void {
    turn++
    clearTimeout(timer)
    lifetime.abort()
    events.stop()
    channel.close()
  }

  const session = {
    client,
    state: readonly(state) as Readonly<ShallowRef<SessionState>>,
    status: computed(() => state.value.status),
    user: computed(() => ('user' in state.value ? state.value.user : undefined)),
    trouble: readonly(trouble) as Readonly<ShallowRef<BffError | undefined>>,
    ready,
    check,
    refresh,
    login,
    loginSilently,
    logout,
    start,
    stop,
    install(app: App): void {
      app.provide(key, session)
      app.onUnmount(stop)
      start()
    },
  }

  return session
}

/** The session of the app this component lives in. */
export function useSession(): Session {
  const session = inject(key)
  if (!session) throw new Error('useSession: no session is installed; call app.use(createSession(client))')
  return session
}

function newsOf(state: SessionState): News | undefined {
  switch (state.status) {
    case 'in':
      return { status: 'in', id: state.session.id }
    case 'out':
      return { status: 'out', id: '', reason: state.reason ?? 'signed_out' }
    case 'expired':
      return { status: 'expired', id: '', reason: state.reason }
    default:
      return undefined
  }
}

function same(a: News | undefined, b: News | undefined): boolean {
  return a?.status === b?.status && a?.id === b?.id
}

function asBffError(error: unknown): BffError {
  return error instanceof BffError ? error : new BffError({ status: 0, code: 'network' }, error)
}

/** Missing in old browsers, and on a page by plain http that is not this machine's. */
function locksOf({ navigator }: Window): LockManager | undefined {
  return (navigator as Partial<Navigator>).locks
}
