/** The provider tells of a sign-out in a frame of its page (OpenID Connect Front-Channel Logout). */
import { expectProfile, signIn } from './support/app'
import { signOutAtDevidp } from './support/provider'
import { expect, test, type Page, type Stack } from './support/test'

test('a frame of the provider ends the session, which needs no cookie; no other page may have it', async ({
  page,
  context,
  stack,
}) => {
  await signIn(page, stack)
  await expectProfile(page, 'Alice Arai')
  await page.evaluate(() => document.body.setAttribute('data-seen', 'before'))
  const stolen = await context.cookies(stack.bff)

  const before = stack.tap.exchanges.length
  const there = await context.newPage()
  await signOutAtDevidp(there)
  const address = await expectFramed(stack, before)
  await expect.poll(() => there.frames().map((frame) => frame.url())).toContain(address)

  await expect(page.getByRole('heading', { name: 'Signed out' })).toBeVisible()
  await expect(page.getByRole('alert')).toContainText('You have been signed out at your provider.')
  await expect(page.locator('body')).toHaveAttribute('data-seen', 'before') // no reload
  await context.addCookies(stolen)
  const call = await page.request.get(`${stack.bff}/api/demo/hello`, { headers: { 'X-CSRF': '1' } })
  expect(call.status()).toBe(401)

  await expectNotFramed(page, address) // the app's origin
  await there.goto('http://127.0.0.1:9100/') // the provider's host, another port
  await expectNotFramed(there, address)
})

test('signing out in the app comes back from the page of frames', async ({ page, stack }) => {
  await signIn(page, stack)
  const before = stack.tap.exchanges.length
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page).toHaveURL(`${stack.app}/signed-out`)
  await expect(page.getByRole('heading', { name: 'Signed out' })).toBeVisible()
  await expectFramed(stack, before)
})

/** The frame's address. It was loaded without a cookie of ours, and only the issuer's page may show it. */
async function expectFramed(stack: Stack, before: number): Promise<string> {
  const find = () =>
    stack.tap.exchanges.slice(before).find(({ url }) => url.startsWith(`${stack.bff}/bff/frontchannel?`))
  await expect.poll(() => find()?.status).toBe(200)
  const frame = find()
  expect(frame?.sent.filter((line) => /^cookie:/i.test(line))).toEqual([])
  expect(frame?.sent).toContainEqual(expect.stringMatching(/^sec-fetch-dest: iframe$/i))
  expect(frame?.sent).toContainEqual(expect.stringMatching(/^sec-fetch-site: cross-site$/i))
  const policy = frame?.received.filter((line) => /^content-security-policy:/i.test(line)) ?? []
  expect(policy).toEqual([expect.stringContaining(`frame-ancestors ${stack.provider.origin};`)])
  return frame?.url ?? ''
}

async function expectNotFramed(page: Page, address: string): Promise<void> {
  const refusal = page.waitForEvent('console', (message) => message.text().includes('frame-ancestors'))
  await page.evaluate((src) => {
    document.body.append(Object.assign(document.createElement('iframe'), { src }))
  }, address)
  expect((await refusal).type()).toBe('error')
  expect(page.frames().map((frame) => frame.url())).not.toContain(address)
}
