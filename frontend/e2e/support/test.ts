/** `test` with a running deployment and a browser that is watched. */
import { expect, test as base, type BrowserContext, type Page } from '@playwright/test'
import { Stack, type Deployment } from './stack'

export interface Options {
  deployment: Deployment
}

interface Own {
  /** Cookies of `localhost` that a script could see, at any time in the test. */
  visibleCookies: string[]
}

export const test = base.extend<Own, Options & { stack: Stack }>({
  deployment: ['own-port', { option: true, scope: 'worker' }],
  stack: [
    async ({ deployment }, use) => {
      const stack = await Stack.start(deployment)
      await use(stack)
      await stack.stop()
    },
    { scope: 'worker', timeout: 540_000 },
  ],
  baseURL: async ({ stack }, use) => use(stack.app),
  proxy: async ({ stack }, use) => use({ server: stack.tap.address }),
  visibleCookies: [
    async ({ context }, use) => {
      const seen: string[] = []
      await watchCookies(context, seen)
      await use(seen)
      expect(seen, 'cookies that a script could read').toEqual([])
    },
    { auto: true },
  ],
})

interface Reporter {
  reportVisibleCookie(cookie: string): Promise<void>
}

/** The browser itself reports every cookie that a script could read, when it is set. */
async function watchCookies(context: BrowserContext, seen: string[]): Promise<void> {
  await context.exposeBinding('reportVisibleCookie', (_source, cookie: string) => {
    seen.push(cookie)
  })
  await context.addInitScript(() => {
    if (location.hostname !== 'localhost') return
    const report = (cookie: string) => (window as unknown as Reporter).reportVisibleCookie(cookie)
    if (document.cookie) void report(document.cookie)
    cookieStore.addEventListener('change', (event) => {
      for (const { name } of event.changed) void report(name ?? '')
    })
  })
}

export { expect, type BrowserContext, type Page, type Stack }
