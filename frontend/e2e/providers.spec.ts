/** What only a provider that others wrote can show. */
import { expectProfile, signIn } from './support/app'
import { theirs } from './support/others'
import { expect, test } from './support/test'

test('who is refused at the provider is not signed in, and may try again', async ({ page, stack }) => {
  const { provider, manners } = theirs(stack)
  await page.goto(`${stack.app}/profile`)
  await expect(page).toHaveURL((url) => url.origin === provider.origin)
  await manners.refuse(page)
  const session = await page.request.get(`${stack.bff}/bff/session`, { headers: { 'X-CSRF': '1' } })
  expect(await session.json()).toMatchObject({ authenticated: false })

  await provider.signIn(page, 'alice')
  await expectProfile(page, 'Alice Arai')
  for (const group of ['staff', 'admins']) {
    await expect(page.getByRole('row', { name: 'groups' }).first()).toContainText(group)
  }
})

test('a sign-out at the provider ends the session here', async ({ page, context, stack }) => {
  const { manners } = theirs(stack)
  await signIn(page, stack)
  await expectProfile(page, 'Alice Arai')
  const there = await context.newPage()
  await manners.signOutThere(there)
  // Without being told, Genkan learns of it from the next renewal, which the provider refuses.
  if (!manners.tells) await page.getByRole('button', { name: 'Renew now' }).click()
  const said = manners.tells ? 'You have been signed out at your provider.' : /your session has ended/i
  await expect(page.getByRole('alert')).toContainText(said)
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
  const call = await page.request.get(`${stack.bff}/api/demo/hello`, { headers: { 'X-CSRF': '1' } })
  expect(call.status()).toBe(401)
})
