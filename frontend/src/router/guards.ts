/**
 * Protected routes: wait for the session's first answer, then sign in by a page load
 * that comes back to the very same route. One try: who comes back without a session
 * is told why, not sent round again.
 */
import { inject, shallowRef, watch, type App, type InjectionKey, type ShallowRef } from 'vue'
import type { RouteLocationNormalized, Router } from 'vue-router'
import type { BffError } from '../bff/client'
import type { Session } from '../bff/session'

/** What stands in the way of a protected page. */
export type Obstacle =
  | { kind: 'unreachable'; error: BffError }
  /** Sign-in was just tried, and there is still no session. */
  | { kind: 'loop' }
  /** The page load to sign in has begun. */
  | { kind: 'leaving' }
  /** The user signed out, here or in another tab, while on a protected page. */
  | { kind: 'signed-out' }

export interface GateOptions {
  window?: Window
  now?: () => number
}

export interface Gate {
  obstacle: Readonly<ShallowRef<Obstacle | undefined>>
  /** Looks again at the route the app is at. */
  retry: () => Promise<void>
  install: (app: App) => void
}

const key: InjectionKey<Gate> = Symbol('gate')

/** The time of the last try. Not a secret, and gone with the tab. */
const marker = 'genkan-signin'
/** Coming back unsigned within this time (ms) is a loop. */
const loopWindow = 60_000

export function createGate(router: Router, session: Session, options: GateOptions = {}): Gate {
  const win = options.window ?? window
  const now = options.now ?? Date.now
  const obstacle = shallowRef<Obstacle>()

  async function look(to: RouteLocationNormalized): Promise<Obstacle | undefined> {
    const state = await session.ready()
    if (state.status === 'in') forget()
    if (!to.meta.requiresAuth || state.status === 'in') return undefined
    if (state.status === 'unavailable') return { kind: 'unreachable', error: state.error }
    if (now() - lastTry() < loopWindow) {
      forget()
      return { kind: 'loop' }
    }
    remember()
    session.login({ returnUrl: new URL(router.resolve(to).href, win.location.origin).href })
    return { kind: 'leaving' }
  }

  function lastTry(): number {
    try {
      return Number(win.sessionStorage.getItem(marker) ?? -Infinity)
    } catch {
      return -Infinity // storage is blocked; the server stops loops too
    }
  }

  function remember(): void {
    try {
      win.sessionStorage.setItem(marker, now().toString())
    } catch {
      // see lastTry
    }
  }

  function forget(): void {
    try {
      win.sessionStorage.removeItem(marker)
    } catch {
      // see lastTry
    }
  }

  router.beforeEach(async (to) => {
    obstacle.value = await look(to)
    // With an obstacle the address stays: App shows the problem in the page's place.
    return true
  })

  function again(): Promise<unknown> {
    return router.replace({ path: router.currentRoute.value.fullPath, force: true })
  }

  async function retry(): Promise<void> {
    await session.check()
    await again()
  }

  watch(session.status, (status) => {
    const { meta } = router.currentRoute.value
    if (obstacle.value) {
      if (status === 'in' || (obstacle.value.kind === 'unreachable' && status === 'out')) void again()
    } else if (status === 'out' && meta.requiresAuth) {
      obstacle.value = { kind: 'signed-out' }
    }
  })

  // Back from the provider's page, a browser may show this page as it was left.
  win.addEventListener('pageshow', (event) => {
    if (event.persisted && obstacle.value?.kind === 'leaving') void retry()
  })

  const gate: Gate = { obstacle, retry, install: (app) => void app.provide(key, gate) }
  return gate
}

/** The gate of the app this component lives in. */
export function useGate(): Gate {
  const gate = inject(key)
  if (!gate) throw new Error('useGate: no gate is installed')
  return gate
}
