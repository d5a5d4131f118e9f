/** One user in several browsers: the list, the end of a session, and who hears of it how soon. */
import { join } from 'node:path'
import { expectProfile, signIn } from './support/app'
import { expectAccessible } from './support/axe'
import { expect, test as base, type BrowserContext, type Page, type Stack } from './support/test'

const pictures = join(import.meta.dirname, '../test-results/screens')
/** A few seconds: what the app's own questions, a minute apart at the least, could not do. */
const soon = { timeout: 5_000 }

const test = base.extend<{ elsewhere: () => Promise<Page> }>({
  /** Another browser, in which she signs in too and looks at a page that listens. */
  elsewhere: async ({ browser, stack }, use) => {
    const contexts: BrowserContext[] = []
    await use(async () => {
      const context = await browser.newContext({ proxy: { server: stack.tap.address } })
      contexts.push(context)
      const page = await context.newPage()
      const stream = page.waitForResponse((answer) => answer.url().endsWith('/bff/events'))
      await signIn(page, stack)
      await expectProfile(page, 'Alice Arai')
      expect((await stream).status()).toBe(200)
      return page
    })
    for (const context of contexts) await context.close()
  },
})

/** Ends what an earlier test has left, so that each begins with one session. */
test.beforeEach(async ({ page, stack }) => {
  await signIn(page, stack, '/sessions')
  const answer = await page.request.delete(`${stack.bff}/bff/sessions?others=true`, { headers: fromApp(stack) })
  expect(answer.status()).toBe(200)
})

test('ended in one browser, a session is over in the other by itself', async ({ page, stack, elsewhere }) => {
  const before = (await stack.provider.issued()).length
  const other = await elsewhere()
  const theirs = (await stack.provider.issued()).slice(before)
  const cookies = await other.context().cookies()
  await other.evaluate(() => document.body.setAttribute('data-seen', 'before'))

  await page.reload()
  await expect(rows(page)).toHaveCount(2)
  await expect(rows(page).first()).toContainText('This browser')
  await expect(rows(page).getByText('Chrome')).toHaveCount(2)
  await expect(rows(page).getByText(/^(127\.0\.0\.1|::1)$/)).toHaveCount(2)
  await page.getByRole('button', { name: 'End the session of' }).click()
  await expect(page.getByRole('button', { name: 'Cancel' })).toBeFocused()
  await page.getByRole('button', { name: 'End it' }).click()

  await expect(other.getByRole('heading', { name: 'Signed out' })).toBeVisible(soon)
  await expect(other.getByRole('alert')).toContainText('You or an administrator ended this session')
  await expect(other.getByTestId('user-name')).toBeHidden()
  await expect(other.locator('body')).toHaveAttribute('data-seen', 'before') // no reload
  await expect(rows(page)).toHaveCount(1)
  await expect(page.getByText('You are signed in nowhere else.')).toBeVisible()

  await other.context().addCookies(cookies) // a copy of the cookie is worth nothing
  const call = await other.request.get(`${stack.bff}/api/demo/hello`, { headers: fromApp(stack) })
  expect(call.status()).toBe(401)
  expect(await stillGood(theirs)).toBe(0)
})

test('a session that lives has a refresh token that does', async ({ stack, elsewhere }) => {
  const before = (await stack.provider.issued()).length
  await elsewhere()
  // The test above would not notice otherwise if it asked in a wrong way.
  expect(await stillGood((await stack.provider.issued()).slice(before))).toBe(1)
})

test('all others end at once, and each says so', async ({ page, elsewhere }) => {
  const others = [await elsewhere(), await elsewhere()]
  await page.reload()
  await expect(rows(page)).toHaveCount(3)
  await takePictures(page)

  const all = page.getByRole('button', { name: 'End all others' })
  await all.focus() // by keyboard alone
  await page.keyboard.press('Enter')
  await expect(page.getByRole('button', { name: 'Cancel' })).toBeFocused()
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Enter')

  await expect(page.getByText('Other sessions that have ended: 2.')).toBeFocused()
  await expect(rows(page)).toHaveCount(1)
  for (const other of others) await expect(other.getByRole('heading', { name: 'Signed out' })).toBeVisible(soon)
})

test('two tabs share one stream, and the one that is left takes it over', async ({
  page,
  context,
  stack,
  elsewhere,
}) => {
  const asked: string[] = []
  context.on('request', (request) => {
    if (request.url().endsWith('/bff/events')) asked.push(request.url())
  })
  await page.goto(`${stack.app}/profile`)
  const second = await context.newPage()
  await second.goto(`${stack.app}/profile`)
  for (const tab of [page, second]) await expectProfile(tab, 'Alice Arai')
  await expect.poll(() => asked.length).toBe(1)

  await page.close()
  await expect.poll(() => asked.length).toBe(2)
  const third = await context.newPage()
  await third.goto(`${stack.app}/profile`)
  await expectProfile(third, 'Alice Arai')
  const other = await elsewhere()
  await other.goto(`${stack.app}/sessions`)
  await other.getByRole('button', { name: 'End all others' }).click()
  await other.getByRole('button', { name: 'End them all' }).click()
  for (const tab of [second, third]) {
    await expect(tab.getByRole('heading', { name: 'Signed out' })).toBeVisible(soon)
    await expect(tab.getByRole('alert')).toContainText('You or an administrator ended this session')
  }
  expect(asked).toHaveLength(2)
})

test('signed out in one tab, the other one says so', async ({ page, context, stack }) => {
  const second = await context.newPage()
  await second.goto(`${stack.app}/profile`)
  await expectProfile(second, 'Alice Arai')
  await rows(page).getByRole('button', { name: 'Sign out' }).click()
  await expect(page).toHaveURL(`${stack.app}/signed-out`)
  await expect(second.getByRole('heading', { name: 'Signed out' })).toBeVisible(soon)
  await expect(second.getByRole('alert')).toContainText('You signed out in another window.')
})

test('who is signed out has no stream', async ({ page, stack }) => {
  await rows(page).getByRole('button', { name: 'Sign out' }).click()
  await expect(page).toHaveURL(`${stack.app}/signed-out`)
  const asked: string[] = []
  page.on('request', (request) => asked.push(new URL(request.url()).pathname))
  await page.reload()
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
  expect(asked).toContain('/bff/session')
  expect(asked).not.toContain('/bff/events')
})

function rows(page: Page) {
  return page.getByRole('list', { name: 'Your sessions' }).getByRole('listitem')
}

function fromApp(stack: Stack) {
  return { 'X-CSRF': '1', Origin: stack.app }
}

/** How many of these tokens the provider would still renew a session by. Asking uses them up. */
async function stillGood(tokens: readonly string[]): Promise<number> {
  let good = 0
  for (const token of tokens) {
    const answer = await fetch('http://127.0.0.1:9000/token', {
      method: 'POST',
      headers: { Authorization: `Basic ${btoa('genkan-dev:genkan-dev-secret')}` },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token }),
    })
    if (answer.ok) good++
    else expect(await answer.json()).toMatchObject({ error: 'invalid_grant' })
  }
  return good
}

/** Pictures to look at, in light and dark, both languages, wide and narrow; axe looks too. */
async function takePictures(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'End the session of' }).first().click()
  for (const language of ['en', 'ja']) {
    if (language === 'ja') await page.getByRole('button', { name: '日本語' }).click()
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      for (const width of [1280, 360]) {
        await page.setViewportSize({ width, height: 720 })
        const path = join(pictures, `sessions-${language}-${colorScheme}-${width.toString()}.png`)
        await page.screenshot({ path, fullPage: true, animations: 'disabled' })
        await expectAccessible(page)
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width)
      }
    }
  }
  await page.setViewportSize({ width: 1280, height: 720 })
  await page.getByRole('button', { name: 'English' }).click()
  await page.getByRole('button', { name: 'Cancel' }).click()
}
