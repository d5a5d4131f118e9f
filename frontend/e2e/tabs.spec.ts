/** What people do to sign-in: tabs, reload, back, lost cookies, a refusal. */
import { expectNothingToSteal, expectProfile, signIn } from './support/app'
import { expect, test, type Page, type Stack } from './support/test'

/** Opens a protected page and stops at the provider's form. */
async function toForm(page: Page, stack: Stack): Promise<void> {
  await page.goto(`${stack.app}/profile`)
  await expect(page.getByLabel('Username')).toBeVisible()
}

/** Up to the last question: the next click sends the browser back to Genkan. */
async function toConsent(page: Page, stack: Stack): Promise<void> {
  await toForm(page, stack)
  await page.getByLabel('Username').fill('alice')
  await page.getByLabel('Password').fill('password')
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await expect(allow(page)).toBeVisible()
}

function allow(page: Page) {
  return page.getByRole('button', { name: 'Allow' })
}

/** The address that the provider sent the browser back to last. */
function lastCallback(stack: Stack): string {
  const url = stack.tap.exchanges
    .map((exchange) => exchange.url)
    .findLast((url) => /\/bff\/callback\?.*code=/.test(url))
  expect(url).toBeDefined()
  return url ?? ''
}

async function expectSignedIn(page: Page, stack: Stack): Promise<void> {
  await expect(page).toHaveURL(`${stack.app}/profile`)
  await expectProfile(page, 'Alice Arai')
}

/** A page for a person: what is wrong, why, what to do, and a way on. */
async function expectHelp(page: Page, code: string): Promise<void> {
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
  await expect(page.getByRole('paragraph').first()).not.toBeEmpty()
  await expect(page.getByRole('link', { name: 'Try again' })).toBeVisible()
  await expect(page.getByRole('definition').first()).toContainText(code)
  await expect(page.getByRole('definition').nth(1)).toHaveText(/^\w{8,}$/)
}

test.describe('two tabs', () => {
  test('that sign in at the same time both succeed', async ({ page, context, stack }) => {
    const other = await context.newPage()
    await toForm(page, stack)
    await toForm(other, stack)
    for (const tab of [page, other]) {
      await tab.getByLabel('Username').fill('alice')
      await tab.getByLabel('Password').fill('password')
    }
    await Promise.all([page, other].map((tab) => tab.getByRole('button', { name: 'Sign in', exact: true }).click()))
    await Promise.all([page, other].map((tab) => allow(tab).click()))
    for (const tab of [page, other]) {
      await expectSignedIn(tab, stack)
      await tab.reload()
      await expectSignedIn(tab, stack)
    }
  })

  test('that finish one after the other both succeed, the first one last', async ({ page, context, stack }) => {
    const other = await context.newPage()
    await toConsent(page, stack)
    await other.goto(`${stack.app}/profile`) // the provider knows her by now
    await allow(other).click()
    await expectSignedIn(other, stack)
    await allow(page).click()
    await expectSignedIn(page, stack)
    await other.reload()
    await expectSignedIn(other, stack)
  })

  test('hear of each other: signed in here, signed in there', async ({ page, context, stack }) => {
    const other = await context.newPage()
    await other.goto(`${stack.app}/`)
    await expect(other.getByRole('button', { name: 'Sign in' })).toBeVisible()
    await signIn(page, stack)
    await expect(other.getByText('Welcome, Alice Arai.')).toBeVisible()
  })
})

test.describe('the callback', () => {
  test('opened again is the page that sign-in was for', async ({ page, stack }) => {
    await signIn(page, stack)
    await page.goto(lastCallback(stack))
    await expectSignedIn(page, stack)
  })

  test('opened again in another tab is that page too, and the first tab stays signed in', async ({
    page,
    context,
    stack,
  }) => {
    await signIn(page, stack)
    const other = await context.newPage()
    await other.goto(lastCallback(stack))
    await expectSignedIn(other, stack)
    await page.reload()
    await expectSignedIn(page, stack)
  })

  test('opened in another browser signs nobody in but that browser itself', async ({ page, browser, stack }) => {
    await signIn(page, stack)
    const stranger = await browser.newContext({ proxy: { server: stack.tap.address } })
    const theirs = await stranger.newPage()
    await theirs.goto(lastCallback(stack))
    await expect(theirs.getByLabel('Username')).toBeVisible() // one silent restart, to the provider
    const session = await stranger.request.get(`${stack.bff}/bff/session`, { headers: { 'X-CSRF': '1' } })
    expect(await session.json()).toMatchObject({ authenticated: false })
    await stranger.close()
  })

  for (const query of [
    '',
    '?code=x',
    '?code=x&state=forged',
    '?error=access_denied',
    '?state=%00%ff',
    '?resume=forged',
  ]) {
    test(`with ${query || 'nothing'} ends on a page that helps`, async ({ page, stack }) => {
      await page.goto(`${stack.bff}/bff/callback${query}`)
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
      await page.getByRole('link', { name: 'Try again' }).click()
      await expect(page.getByLabel('Username')).toBeVisible()
    })
  }
})

test.describe('the back button', () => {
  test('after sign-in leads to the signed-in app again', async ({ page, stack }) => {
    await toConsent(page, stack)
    const pages = await page.evaluate(() => history.length)
    await allow(page).click()
    await expectSignedIn(page, stack)
    // Back to the provider's first page, over the pages that were answers to its forms.
    await page.evaluate((back) => {
      history.go(-back)
    }, pages - 1)
    await expectSignedIn(page, stack)
  })

  test('at the provider leads to the app, which offers to sign in', async ({ page, stack }) => {
    await page.goto(`${stack.app}/`)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await expect(page.getByLabel('Username')).toBeVisible()
    await page.goBack()
    await expect(page).toHaveURL(`${stack.app}/`)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await stack.provider.signIn(page, 'alice')
    await expect(page.getByText('Welcome, Alice Arai.')).toBeVisible()
  })

  test('at the provider leads from a protected page to a way in', async ({ page, stack }) => {
    await page.goto(`${stack.app}/`)
    await page.getByRole('link', { name: 'Profile' }).click()
    await expect(page.getByLabel('Username')).toBeVisible()
    await page.goBack()
    await page.getByRole('main').getByRole('button').first().click()
    await stack.provider.signIn(page, 'alice')
    await expectSignedIn(page, stack)
  })
})

test.describe('a cookie jar', () => {
  test('emptied of our cookies half-way fills again and signs in', async ({ page, context, stack }) => {
    await toConsent(page, stack)
    await context.clearCookies({ domain: 'localhost' })
    const before = stack.tap.exchanges.length
    await allow(page).click()
    await expectSignedIn(page, stack)
    const addresses = stack.tap.exchanges.slice(before).map(({ url }) => url)
    expect(addresses.filter((url) => /\/bff\/callback\?code=/.test(url))).toHaveLength(2) // it began again, once
  })

  test('emptied of everything half-way means signing in once more', async ({ page, context, stack }) => {
    await toForm(page, stack)
    await context.clearCookies()
    await page.getByLabel('Username').fill('alice')
    await page.getByLabel('Password').fill('password')
    await page.getByRole('button', { name: 'Sign in', exact: true }).click()
    await allow(page).click()
    await expectSignedIn(page, stack)
  })

  test('emptied while signed in ends on a page that lets sign in', async ({ page, context, stack }) => {
    // The stream is opened with the cookie: without it the app would know before the button is clicked.
    const stream = page.waitForResponse((answer) => answer.url().endsWith('/bff/events') && answer.status() === 200)
    await signIn(page, stack)
    await expectProfile(page, 'Alice Arai')
    await stream
    await context.clearCookies({ domain: 'localhost' })
    await page.getByRole('button', { name: 'Renew now' }).click()
    await expect(page.getByRole('button', { name: 'Sign in again' }).first()).toBeVisible()
    await expectNothingToSteal(page, stack)
    await page.getByRole('button', { name: 'Sign in again' }).first().click()
    await expectSignedIn(page, stack) // the provider still knows her
  })

  test('that keeps nothing ends on a page that names the cause', async ({ page, stack }) => {
    stack.tap.dropCookiesOf = new URL(stack.bff).host
    try {
      await toConsent(page, stack)
      await allow(page).click()
      await expect(page).toHaveURL(/\/bff\/callback/)
      await expectHelp(page, 'transaction_missing')
      await expect(page.getByText(/cookie/i).first()).toBeVisible()
    } finally {
      stack.tap.dropCookiesOf = undefined
    }
  })
})

test('a refusal at the provider ends on a page that helps', async ({ page, stack }) => {
  await toConsent(page, stack)
  await page.getByRole('button', { name: 'Deny' }).click()
  await expectHelp(page, 'access_denied')
  await page.getByRole('link', { name: 'Try again' }).click()
  await allow(page).click()
  await expectSignedIn(page, stack)
})
