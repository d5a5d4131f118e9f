import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { computed, shallowRef } from 'vue'
import { createMemoryHistory, createRouter } from 'vue-router'
import { BffError } from '../bff/client'
import type { Session, SessionState } from '../bff/session'
import sessionIn from '../bff/testdata/session_in.json'
import { createGate } from './guards'

const signedIn: SessionState = {
  status: 'in',
  user: sessionIn.user,
  session: sessionIn.session,
  idleEndsAt: 0,
  absoluteEndsAt: 0,
  endsAt: 0,
}
const signedOut: SessionState = { status: 'out', providers: [] }
const unavailable: SessionState = { status: 'unavailable', error: new BffError({ status: 0, code: 'network' }) }

/** A session whose state the test writes. */
function fakeSession(first: SessionState) {
  const state = shallowRef(first)
  const login = vi.fn<Session['login']>()
  const check = vi.fn<Session['check']>(() => Promise.resolve())
  const session = {
    state,
    status: computed(() => state.value.status),
    ready: () => Promise.resolve(state.value),
    login,
    check,
  }
  return { session: session as unknown as Session, state, login, check }
}

function app(first: SessionState) {
  const component = { render: () => null }
  const router = createRouter({
    history: createMemoryHistory(),
    routes: [
      { path: '/', component, meta: { title: 'nav.home' } },
      { path: '/profile', component, meta: { title: 'nav.profile', requiresAuth: true } },
    ],
  })
  const fake = fakeSession(first)
  let now = 1_000_000
  const gate = createGate(router, fake.session, { now: () => now })
  return { router, gate, ...fake, wait: (ms: number) => (now += ms) }
}

beforeEach(() => sessionStorage.clear())
afterEach(() => vi.restoreAllMocks())

describe('a protected route', () => {
  it('opens when signed in', async () => {
    const { router, gate, login } = app(signedIn)
    await router.push('/profile')
    expect([gate.obstacle.value, login.mock.calls.length]).toEqual([undefined, 0])
  })

  it('signs in and comes back to that very address', async () => {
    const { router, gate, login } = app(signedOut)
    await router.push('/profile?tab=2#claims')
    expect(login.mock.calls).toEqual([[{ returnUrl: 'http://localhost:5173/profile?tab=2#claims' }]])
    expect(gate.obstacle.value).toEqual({ kind: 'leaving' })
    expect(router.currentRoute.value.fullPath).toBe('/profile?tab=2#claims')
  })

  it('signs in again when the session has expired', async () => {
    const { router, login } = app({ status: 'expired', user: { sub: 'alice' }, provider: 'dev', reason: 'ended' })
    await router.push('/profile')
    expect(login).toHaveBeenCalledOnce()
  })

  it('shows why when the session cannot be asked, and opens when it can', async () => {
    const { router, gate, state, login } = app(unavailable)
    await router.push('/profile')
    expect(gate.obstacle.value).toMatchObject({ kind: 'unreachable', error: { code: 'network' } })
    expect(login).not.toHaveBeenCalled()
    state.value = signedIn
    await vi.waitFor(() => expect(gate.obstacle.value).toBeUndefined())
  })

  it('gives way to a farewell when the user signs out elsewhere', async () => {
    const { router, gate, state, login } = app(signedIn)
    await router.push('/profile')
    state.value = signedOut
    await vi.waitFor(() => expect(gate.obstacle.value).toEqual({ kind: 'signed-out' }))
    expect(login).not.toHaveBeenCalled()
  })

  it('stays as it is when the session expires under it', async () => {
    const { router, gate, state } = app(signedIn)
    await router.push('/profile')
    state.value = { status: 'expired', user: { sub: 'alice' }, provider: 'dev', reason: 'ended' }
    await new Promise((resolve) => setTimeout(resolve))
    expect(gate.obstacle.value).toBeUndefined()
  })
})

describe('an open route', () => {
  it.each([signedOut, unavailable])('needs no session: $status', async (state) => {
    const { router, gate, login } = app(state)
    await router.push('/')
    expect([gate.obstacle.value, login.mock.calls.length]).toEqual([undefined, 0])
  })
})

describe('the loop', () => {
  it('stops after one try', async () => {
    await app(signedOut).router.push('/profile')
    const second = app(signedOut) // the page as it is loaded on the way back
    await second.router.push('/profile')
    expect(second.gate.obstacle.value).toEqual({ kind: 'loop' })
    expect(second.login).not.toHaveBeenCalled()
  })

  it('is none when the first try was long ago', async () => {
    await app(signedOut).router.push('/profile')
    const second = app(signedOut)
    second.wait(60_000)
    await second.router.push('/profile')
    expect(second.login).toHaveBeenCalledOnce()
  })

  it('is none after a sign-in that worked', async () => {
    await app(signedOut).router.push('/profile')
    await app(signedIn).router.push('/profile')
    const third = app(signedOut)
    await third.router.push('/profile')
    expect(third.login).toHaveBeenCalledOnce()
  })

  it('may be tried again by the user', async () => {
    await app(signedOut).router.push('/profile')
    const second = app(signedOut)
    await second.router.push('/profile')
    await second.gate.retry()
    expect(second.check).toHaveBeenCalledOnce()
    expect(second.login).toHaveBeenCalledOnce()
  })

  it('leaves nothing but a time in the storage', async () => {
    await app(signedOut).router.push('/profile')
    expect(Object.fromEntries(Object.entries(sessionStorage))).toEqual({ 'genkan-signin': '1000000' })
  })

  it('does not break sign-in where storage is blocked', async () => {
    const blocked = () => {
      throw new DOMException('blocked', 'SecurityError')
    }
    vi.spyOn(Storage.prototype, 'getItem').mockImplementation(blocked)
    vi.spyOn(Storage.prototype, 'setItem').mockImplementation(blocked)
    vi.spyOn(Storage.prototype, 'removeItem').mockImplementation(blocked)
    const { router, login } = app(signedOut)
    await router.push('/profile')
    expect(login).toHaveBeenCalledOnce()
  })
})

describe('back from the provider without signing in', () => {
  it('explains instead of waiting for ever', async () => {
    const { router, gate } = app(signedOut)
    await router.push('/profile')
    window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted: true }))
    await vi.waitFor(() => expect(gate.obstacle.value).toEqual({ kind: 'loop' }))
  })
})
