/** The whole job, the same for every deployment: see the projects of playwright.config.ts. */
import { callApi, expectNothingToSteal, expectOneCookie, expectProfile, signIn } from './support/app'
import { expect, test, type Page, type Stack } from './support/test'

test('from a protected page through sign-in, calls and renewal to sign-out everywhere', async ({
  page,
  context,
  stack,
}) => {
  const { subjects } = stack.provider

  await test.step('a protected page sends to sign in and is there again afterwards', async () => {
    await page.goto(`${stack.app}/`)
    await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
    await expectNothingToSteal(page, stack)
    await signIn(page, stack, '/profile?from=a+link&to=/b#claims')
    await expectProfile(page, 'Alice Arai')
    await expect(page.getByRole('row', { name: 'email' }).first()).toContainText('alice@example.com')
    await expect(page.getByRole('row', { name: 'sub' }).first()).toContainText(subjects.alice)
    await expectNothingToSteal(page, stack)
    await expectOneCookie(context, stack)
  })

  await test.step('the app calls the API, which gets a token and no cookie', async () => {
    await page.getByRole('link', { name: 'API', exact: true }).click()
    const answer = await callApi(page)
    expect(answer.sub).toBe(subjects.alice)
    const headers = answer.request_headers.map((name) => name.toLowerCase())
    expect(headers).toContain('authorization')
    expect(headers).not.toContain('cookie')
    await expectNothingToSteal(page, stack)
  })

  await test.step('a reload keeps the session', async () => {
    await page.reload()
    expect((await callApi(page)).sub).toBe(subjects.alice)
  })

  const second = await context.newPage()
  await test.step('a second tab is signed in at once', async () => {
    await second.goto(`${stack.app}/profile`)
    await expectProfile(second, 'Alice Arai')
    await expectNothingToSteal(second, stack)
  })

  await test.step('an expired access token is renewed and nobody notices', () => renewal(page, second, stack))
  await test.step('sign-out ends it here, in the other tab and at the provider', () => signOut(page, second, stack))
})

async function renewal(page: Page, second: Page, stack: Stack): Promise<void> {
  const { provider } = stack
  await provider.shorten()
  await second.getByRole('button', { name: 'Renew now' }).click() // the first token that lives shortly
  await expect(second.getByText('Renewed.')).toBeVisible()
  const before = await callApi(page)
  const expires = Date.now() + before.token_expires_in * 1000
  const issued = (await provider.issued()).length
  await expect.poll(() => Date.now() > expires + 1000, { message: 'the access token expires' }).toBe(true)
  const after = await callApi(page)
  expect(after.sub).toBe(provider.subjects.alice)
  expect(after.token_expires_in).toBeGreaterThan(0)
  expect((await provider.issued()).length).toBeGreaterThan(issued)
  await expectOneCookie(page.context(), stack)
  await expectNothingToSteal(page, stack)
}

async function signOut(page: Page, second: Page, stack: Stack): Promise<void> {
  const context = page.context()
  const ours = async () => (await context.cookies()).filter(({ domain }) => domain === 'localhost')
  const stolen = await ours()
  expect(stolen).toHaveLength(1)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await stack.provider.confirmSignOut(page)
  await expect(page).toHaveURL(`${stack.app}/signed-out`)
  await expect(page.getByRole('heading', { name: 'Signed out' })).toBeVisible()
  await expect(second.getByRole('button', { name: 'Sign out' })).toBeHidden()
  await expectNothingToSteal(page, stack)
  expect(await ours()).toEqual([])

  await context.addCookies(stolen) // a copy of the cookie is worth nothing now
  const session = await context.request.get(`${stack.bff}/bff/session`, { headers: { 'X-CSRF': '1' } })
  expect(await session.json()).toMatchObject({ authenticated: false })

  await second.goto(`${stack.app}/profile`)
  await expect(second).toHaveURL((url) => url.origin === stack.provider.origin)
  await expect(second.getByRole('textbox').first()).toBeVisible()
}
