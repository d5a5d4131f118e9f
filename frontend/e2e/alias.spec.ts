/** Another spelling of this machine than the public one. */
import { expect, test } from './support/test'

for (const host of ['127.0.0.1', '[::1]']) {
  test(`sign-in begun at ${host} ends signed in at localhost`, async ({ page, context, stack }) => {
    const returnUrl = encodeURIComponent(`${stack.app}/profile`)
    await page.goto(`http://${host}:8000/bff/login?returnUrl=${returnUrl}`)
    await expect(page).toHaveURL((url) => url.origin === stack.provider.origin)
    // The redirect came before the transaction: nothing of it is left at the other spelling.
    expect((await context.cookies()).map(({ domain }) => domain)).not.toContain(host.replace(/[[\]]/g, ''))
    await stack.provider.signIn(page, 'alice')
    await expect(page).toHaveURL(`${stack.app}/profile`)
    await expect(page.getByTestId('user-name')).toHaveText('Alice Arai')
  })
}

test('the app opened at 127.0.0.1 names the cause and leads to where it works', async ({ page, stack }) => {
  await page.goto('http://127.0.0.1:5173/profile?tab=1')
  await expect(page.getByRole('heading', { name: 'Genkan does not know this app' })).toBeVisible()
  await expect(page.getByText('two sites')).toBeVisible()
  await page.getByRole('link', { name: 'Open http://localhost:5173/profile?tab=1 instead' }).click()
  await stack.provider.signIn(page, 'alice')
  await expect(page).toHaveURL(`${stack.app}/profile?tab=1`)
  await expect(page.getByTestId('user-name')).toHaveText('Alice Arai')
})
