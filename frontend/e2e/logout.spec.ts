/** Sign-out that begins at the provider, and one whose ID token is too long for an address. */
import { expectProfile, signIn } from './support/app'
import { injectFault, signOutAtDevidp } from './support/provider'
import { expect, test, type Page, type Stack } from './support/test'

test('signed out at the provider, the app says so by itself and the cookie is worth nothing', async ({
  page,
  context,
  stack,
}) => {
  await signIn(page, stack)
  await expectProfile(page, 'Alice Arai')
  await page.evaluate(() => document.body.setAttribute('data-seen', 'before'))
  const stolen = await context.cookies(stack.bff)

  await signOutAtDevidp(await context.newPage())
  await expect(page.getByRole('heading', { name: 'Signed out' })).toBeVisible()
  await expect(page.getByRole('alert')).toContainText('You have been signed out at your provider.')
  await expect(page.getByTestId('user-name')).toBeHidden()
  await expect(page.locator('body')).toHaveAttribute('data-seen', 'before') // no reload

  await context.addCookies(stolen)
  const call = await page.request.get(`${stack.bff}/api/demo/hello`, { headers: { 'X-CSRF': '1' } })
  expect(call.status()).toBe(401)
  await page.goto(`${stack.app}/profile`)
  await expect(page.getByLabel('Username')).toBeVisible()
})

test.describe('an ID token that is too long for an address', () => {
  test.beforeEach(() => injectFault('id-many-claims'))

  test('is posted to the provider at sign-out', async ({ page, stack }) => {
    await signIn(page, stack)
    await expectHintPosted(page, stack, () => page.getByRole('button', { name: 'Sign out' }).click())
    await expect(page.getByRole('heading', { name: 'Signed out' })).toBeVisible()
    await page.goto(`${stack.app}/profile`)
    await expect(page.getByLabel('Username')).toBeVisible()
  })

  test.describe('without scripts', () => {
    test.use({ javaScriptEnabled: false })

    test('is posted by a button', async ({ page, stack }) => {
      await page.goto(`${stack.bff}/bff/login?returnUrl=${encodeURIComponent(`${stack.app}/profile`)}`)
      await stack.provider.signIn(page, 'alice')
      await expect(page).toHaveURL(`${stack.app}/profile`)
      await page.goto(`${stack.bff}/bff/logout?returnUrl=${encodeURIComponent(`${stack.app}/signed-out`)}`)
      await page.getByRole('link', { name: 'Sign out' }).click()
      await expect(page.getByText('You are signed out here. Your provider is told, too.')).toBeVisible()
      await expectHintPosted(page, stack, () => page.getByRole('button', { name: 'Continue' }).click())
      await page.goto(`${stack.bff}/bff/login`)
      await expect(page.getByLabel('Username')).toBeVisible()
    })
  })
})

/** The provider got the ID token in a form, and no address or header of the browser ever held it. */
async function expectHintPosted(page: Page, stack: Stack, signOut: () => Promise<void>): Promise<void> {
  const posted = page.waitForRequest(`${stack.provider.origin}/logout`)
  await signOut()
  const request = await posted
  expect(request.method()).toBe('POST')
  const hint = new URLSearchParams(request.postData() ?? '').get('id_token_hint') ?? ''
  expect(hint.length).toBeGreaterThan(4096)
  expect(await stack.provider.issued()).toContain(hint)
  await expect(page).toHaveURL(`${stack.app}/signed-out`)

  expect(await page.context().cookies(stack.bff)).toEqual([])
  const lines = stack.tap.exchanges.flatMap(({ url, sent, received }) => [url, ...sent, ...received])
  const [, payload, signature] = hint.split('.')
  for (const part of [payload, signature]) {
    expect(part).toBeTruthy()
    expect(lines.filter((line) => line.includes(part ?? '')).map((line) => line.slice(0, 40))).toEqual([])
  }
}
