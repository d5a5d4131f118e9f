/** Sign-in without a click in the app: begun at the provider, or tried in silence. */
import { expectOneCookie, expectProfile, signIn } from './support/app'
import { expect, test, type Page, type Stack } from './support/test'

test.describe('a sign-in that the provider begins', () => {
  test('ends on the page that it names', async ({ page, context, stack }) => {
    await page.goto(initiate(stack, `${stack.app}/profile?tab=2#claims`))
    await stack.provider.signIn(page, 'alice')
    await expect(page).toHaveURL(`${stack.app}/profile?tab=2#claims`)
    await expectProfile(page, 'Alice Arai')
    await expectOneCookie(context, stack)
  })

  test('for a page of others ends on a page that refuses, and asks nobody', async ({ page, stack }) => {
    const before = stack.tap.exchanges.length
    for (const target of ['https://evil.example/', `${stack.app}.evil.example/`, 'javascript:alert(1)']) {
      await page.goto(initiate(stack, target))
      await expect(page).toHaveURL((url) => url.origin === stack.bff && url.pathname === '/bff/login')
      await expect(page.getByRole('heading', { name: 'This returnUrl is not on a configured origin' })).toBeVisible()
      await expect(page.getByRole('definition').first()).toHaveText('GK512 return_url_refused')
    }
    const asked = stack.tap.exchanges.slice(before).map(({ url }) => new URL(url).pathname)
    expect(asked.filter((path) => path === '/dev/initiate')).toHaveLength(3)
    expect(asked).not.toContain('/authorize')
    await page.getByRole('link', { name: 'Try again' }).click()
    await expect(page.getByLabel('Username')).toBeVisible()
  })
})

test.describe('a sign-in that is tried in silence', () => {
  test('succeeds and shows no page where the provider knows the user', async ({ page, context, stack }) => {
    await signIn(page, stack)
    await context.clearCookies({ domain: 'localhost' })
    expect(await firstPage(page, silent(stack, '/profile'))).toBe(`${stack.app}/profile`)
    await expectProfile(page, 'Alice Arai')
    await expectOneCookie(context, stack)
  })

  test('leads back signed out where it does not, and round and round to a page that says so', async ({
    page,
    stack,
  }) => {
    const before = stack.tap.exchanges.length
    for (let time = 1; time <= 3; time++) {
      expect(await firstPage(page, silent(stack, '/'))).toBe(`${stack.app}/`)
      await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
    }
    const asked = stack.tap.exchanges.slice(before).filter(({ url }) => new URL(url).pathname === '/authorize')
    expect(asked, 'questions to the provider').toHaveLength(1)
    await page.goto(silent(stack, '/'))
    await expect(page.getByRole('heading', { name: 'Sign-in goes round in circles' })).toBeVisible()
    await expect(page.getByRole('definition').first()).toHaveText('GK523 sign_in_loop')
    await page.getByRole('link', { name: 'Try again' }).click()
    await stack.provider.signIn(page, 'alice')
    await expect(page.getByText('Welcome, Alice Arai.')).toBeVisible()
  })
})

function initiate(stack: Stack, target: string): string {
  return `${stack.provider.origin}/dev/initiate?${new URLSearchParams({ client: 'genkan-dev', target }).toString()}`
}

function silent(stack: Stack, path: string): string {
  const query = new URLSearchParams({ prompt: 'none', returnUrl: stack.app + path })
  return `${stack.bff}/bff/login?${query.toString()}`
}

/** Where the browser is after all redirects, before any page could send it on. */
async function firstPage(page: Page, address: string): Promise<string | undefined> {
  return (await page.goto(address))?.url()
}
