/** The FAPI 2.0 Security Profile at a provider that others wrote, which enforces it. */
import { callApi, expectProfile } from './support/app'
import { theirs } from './support/others'
import { expect, test } from './support/test'
import type { Call } from './support/witness'

test('no secret is sent, and no token is worth stealing', async ({ page, stack }) => {
  const { witness, provider } = theirs(stack)
  const before = witness.calls.length
  const asked = page.waitForRequest((request) => new URL(request.url()).searchParams.has('request_uri'))
  await page.goto(`${stack.app}/profile`)
  const address = new URL((await asked).url())
  expect([...address.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
  await provider.signIn(page, 'alice')
  await expectProfile(page, 'Alice Arai')
  await page.getByRole('button', { name: 'Renew now' }).click()
  await expect(page.getByText('Renewed.')).toBeVisible()
  await page.getByRole('link', { name: 'API', exact: true }).click()
  expect(await callApi(page)).toMatchObject({ authorization_scheme: 'DPoP' })
  expectProven(witness.calls.slice(before))
})

/** Genkan sent no secret: it signed every form anew, and proved that it has the key which tokens are bound to. */
function expectProven(calls: readonly Call[]): void {
  const kinds = calls.map(({ form }) => form.get('grant_type') ?? 'request')
  expect([...new Set(kinds)]).toEqual(['request', 'authorization_code', 'refresh_token'])
  const assertions = calls.map(({ form }) => form.get('client_assertion'))
  expect(new Set(assertions).size, 'assertions that were used once').toBe(calls.length)
  for (const { headers, form, status, answer } of calls) {
    expect(headers.authorization).toBeUndefined()
    expect(form.get('client_assertion')).toMatch(/^eyJ/)
    expect(form.has('client_secret')).toBe(false)
    if (!form.has('grant_type')) continue
    expect(headers['dpop']).toMatch(/^eyJ/)
    if (status === 200) expect(answer['token_type']).toBe('DPoP')
  }
}
