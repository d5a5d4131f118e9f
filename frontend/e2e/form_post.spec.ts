/** The provider posts its answer from its own site (OAuth 2.0 Form Post Response Mode). */
import { expectOneCookie, expectProfile, signIn } from './support/app'
import { expect, test } from './support/test'

test('an answer that arrives as a cross-site POST signs in', async ({ page, context, stack }) => {
  const posted = page.waitForRequest((request) => request.url() === `${stack.bff}/bff/callback`)
  await signIn(page, stack)
  const request = await posted
  expect(request.method()).toBe('POST')
  expect(request.url()).not.toContain('code=')
  expect(new URLSearchParams(request.postData() ?? '').has('code')).toBe(true)
  await expectProfile(page, 'Alice Arai')
  await expectOneCookie(context, stack)
  await page.reload()
  await expectProfile(page, 'Alice Arai')
})
