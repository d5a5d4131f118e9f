/** The form that holds a long ID token is of the app's own origin here; a script of the app must not read it. */
import { signIn } from './support/app'
import { injectFault } from './support/provider'
import { expect, test } from './support/test'

/** What the app's own document may say of itself. */
const openers = {
  'as Genkan serves it': {},
  'without a policy': { 'cross-origin-opener-policy': 'unsafe-none' },
  'cross-origin isolated': {
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
  },
}

for (const [name, policy] of Object.entries(openers)) {
  test(`a script of the app, ${name}, cannot read the form that is posted to the provider`, async ({
    page,
    context,
    stack,
  }) => {
    await injectFault('id-many-claims')
    await signIn(page, stack)
    await context.route(`${stack.app}/opener`, async (route) => {
      const answer = await route.fetch()
      await route.fulfill({ response: answer, headers: { ...answer.headers(), ...policy } })
    })
    await page.goto(`${stack.app}/opener`)
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(name === 'cross-origin isolated')
    await context.route('**/bff/assets/page.js', (route) => route.abort()) // so that the form stays
    const opened = context.waitForEvent('page')
    await page.evaluate(async () => {
      const answer = await fetch('/bff/logout?returnUrl=/', { method: 'POST', headers: { 'X-CSRF': '1' } })
      const { url } = (await answer.json()) as { url: string }
      Object.assign(window, { opened: window.open(url) })
    })
    await expect((await opened).getByRole('button', { name: 'Continue' })).toBeVisible()
    const read = await page.evaluate(() => {
      const { opened } = window as unknown as { opened: Window }
      try {
        return opened.document.querySelector<HTMLInputElement>('[name=id_token_hint]')?.value.length ?? 0
      } catch {
        return 'refused'
      }
    })
    expect(read).toBe('refused')
  })
}
