/**
 * Nothing that must stay on the server is in a byte that the browser received or in a
 * log. The same search runs over all tests of a deployment when it is stopped.
 */
import { callApi, expectProfile, signIn } from './support/app'
import { findSecrets } from './support/leaks'
import { expect, test } from './support/test'

test('no token, client secret or session key reaches the browser or a log', async ({ page, context, stack }) => {
  await signIn(page, stack)
  await page.getByRole('button', { name: 'Renew now' }).click()
  await expect(page.getByText('Renewed.')).toBeVisible()
  await page.getByRole('link', { name: 'API', exact: true }).click()
  await callApi(page)
  for (const request of ['Send some JSON', 'An address that does not exist', 'A path with no service behind it']) {
    await page.getByLabel(request).check()
    await page.getByRole('button', { name: 'Call the API' }).click()
    await expect(
      page
        .getByTestId('api-result')
        .getByText(/^[24]\d\d$/)
        .first(),
    ).toBeVisible()
  }
  // Wrong turns say more than right ones.
  for (const path of [
    '/bff/callback',
    '/bff/callback?code=x&state=y',
    '/bff/callback?error=x',
    '/bff/login?returnUrl=//evil',
    '/bff/user',
    '/nothing',
  ]) {
    const other = await context.newPage()
    await other.goto(stack.bff + path)
    await other.close()
  }
  await page.goto(`${stack.app}/profile`)
  await expectProfile(page, 'Alice Arai')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page).toHaveURL(`${stack.app}/signed-out`)

  const secrets = await stack.secrets()
  const tokens = await stack.provider.issued()
  expect(tokens.length, 'access, refresh and ID token, twice').toBeGreaterThanOrEqual(6)
  for (const secret of secrets) expect(secret.length).toBeGreaterThanOrEqual(16)
  expect(findSecrets(stack.evidence, secrets)).toEqual([])
})

test('the search finds what is there', async ({ page, stack }) => {
  await signIn(page, stack)
  const { exchanges, logs } = stack.evidence
  const cookie = exchanges.flatMap(({ received }) => received).find((line) => /^set-cookie: bff-8000=/i.test(line))
  const code = exchanges.map(({ url }) => new URL(url).searchParams.get('code')).find((value) => value !== null)
  const requestId = /"request_id":"(\w+)"/.exec(logs['genkan'] ?? '')?.[1]
  const state = exchanges.map(({ url }) => new URL(url).searchParams.get('state')).find((value) => value !== null)
  const known = {
    'in a body': 'alice@example.com',
    'in a header': cookie?.split(/[=;]/)[1],
    'in an address': code,
    'in a redirect': state,
    'in a log': requestId,
  }
  for (const [where, text] of Object.entries(known)) {
    expect(text, where).toBeTruthy()
    expect(findSecrets(stack.evidence, [text ?? '']), where).not.toEqual([])
  }
  const whole = `eyJhbGciOiJub25lIn0.${Buffer.from('{"sub":"canary"}').toString('base64url')}.c2lnbmF0dXJl`
  const part = { provider: stack.provider.origin, exchanges: [], logs: { any: `payload=${whole.split('.')[1] ?? ''}` } }
  expect(findSecrets(part, [whole]), 'a part of a token').not.toEqual([])
})
