/** The app, as a person and a curious script see it. */
import { expect, type BrowserContext, type Page } from '@playwright/test'
import type { Stack } from './stack'

export async function expectProfile(page: Page, name: string): Promise<void> {
  await expect(page.getByTestId('user-name')).toHaveText(name)
}

/** Opens a protected page of a browser without a session and signs in on the way. */
export async function signIn(page: Page, stack: Stack, path = '/profile'): Promise<void> {
  await page.goto(stack.app + path)
  await expect(page).toHaveURL((url) => url.origin === stack.provider.origin)
  await stack.provider.signIn(page, 'alice')
  await expect(page).toHaveURL(stack.app + path)
}

/** What the API behind Genkan said, called by the app's page for that. */
export async function callApi(
  page: Page,
): Promise<{ sub: string; request_headers: string[]; token_expires_in: number }> {
  await page.getByRole('button', { name: 'Call the API' }).click()
  const result = page.getByTestId('api-result')
  await expect(result.getByText('200')).toBeVisible()
  return JSON.parse(await result.locator('pre').innerText()) as Awaited<ReturnType<typeof callApi>>
}

/** A script on the app's page finds no cookie, no token and nothing that looks like one. */
export async function expectNothingToSteal(page: Page, stack: Stack): Promise<void> {
  const seen = await page.evaluate(async () => ({
    cookie: document.cookie,
    storage: [localStorage, sessionStorage].map((store) => JSON.stringify(store)).join(),
    databases: (await indexedDB.databases()).length + (await caches.keys()).length,
    globals: JSON.stringify(Object.entries(window).filter(([, value]) => typeof value === 'string')),
  }))
  expect(seen).toMatchObject({ cookie: '', databases: 0 })
  for (const text of [seen.storage, seen.globals]) {
    expect(text).not.toMatch(/eyJ|token/i)
    for (const token of await stack.provider.issued()) expect(text).not.toContain(token)
  }
}

/** All that the browser holds of Genkan: one cookie that no script and no other site gets. */
export async function expectOneCookie(context: BrowserContext, stack: Stack): Promise<void> {
  const { port } = new URL(stack.bff)
  const cookies = (await context.cookies()).filter(({ domain }) => domain === 'localhost')
  expect(cookies).toMatchObject([{ name: `bff-${port}`, path: '/', httpOnly: true, sameSite: 'Strict' }])
  expect(cookies[0]?.value.length).toBeLessThan(4096 - 200)
}
