/**
 * Every page, in light and dark, English and Japanese, as Genkan serves it: axe finds
 * nothing, the Content-Security-Policy is not broken, and a picture is there to look at.
 */
import { join } from 'node:path'
import { messages, type Locale, type MessageKey } from '../src/i18n/messages'
import { expectProfile } from './support/app'
import { expectAccessible } from './support/axe'
import { expect, test, type Page } from './support/test'

const pictures = join(import.meta.dirname, '../test-results/screens')

for (const locale of ['en', 'ja'] as const) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test.describe(`${locale} ${colorScheme}`, () => {
      test.use({ locale: locale === 'en' ? 'en-GB' : 'ja-JP', colorScheme })

      test('every page is accessible', async ({ page, stack }) => {
        const t = words(locale)
        const complaints = listen(page)
        const check = async (name: string) => {
          await expect(page.getByRole('heading', { level: 1 })).toBeVisible()
          await page.screenshot({
            path: join(pictures, `${name}-${locale}-${colorScheme}.png`),
            fullPage: true,
            animations: 'disabled',
          })
          await expectAccessible(page)
        }

        await page.goto('/')
        await expect(page.locator('html')).toHaveAttribute('lang', locale)
        await expect(page.getByRole('button', { name: t('action.signIn') })).toBeVisible()
        await check('home')
        await page.goto('/nothing/here')
        await check('not-found')
        await page.goto('/problem')
        await expect(page.getByText(t('problem.fineText'))).toBeVisible()
        await check('problem')
        await page.goto('/bff/callback?error=access_denied')
        await check('genkan-error')

        await page.goto('/profile')
        await expect(page.getByLabel('Username')).toBeVisible()
        await check('provider-sign-in')
        await page.getByLabel('Username').fill('alice')
        await page.getByLabel('Password').fill('password')
        await page.getByRole('button', { name: 'Sign in', exact: true }).click()
        await expect(page.getByRole('button', { name: 'Allow' })).toBeVisible()
        await check('provider-consent')
        await page.getByRole('button', { name: 'Allow' }).click()
        await expectProfile(page, 'Alice Arai')
        await check('profile')
        await page.goto('/')
        await expect(page.getByText(t('home.hello').replace('{name}', 'Alice Arai'))).toBeVisible()
        await check('home-signed-in')
        await page.goto('/demo')
        await page.getByRole('button', { name: t('api.call') }).click()
        await expect(page.getByTestId('api-result').getByText('200')).toBeVisible()
        await check('api')
        await page.getByLabel(t('api.noService')).check()
        await page.getByRole('button', { name: t('api.call') }).click()
        await expect(page.getByTestId('api-result').getByText('not_found')).toBeVisible()
        await check('api-error')
        await page.goto('/sessions')
        await expect(page.getByText(t('sessions.only'))).toBeVisible()
        await check('sessions')
        await page.goto('/bff/logout')
        await check('genkan-confirm')

        await page.goto('/')
        await page.getByRole('button', { name: t('action.signOut') }).click()
        await expect(page).toHaveURL(`${stack.app}/signed-out`)
        await check('signed-out')
        expect(complaints).toEqual([])
      })
    })
  }
}

test('the whole way works with the keyboard alone', async ({ page, stack }) => {
  await page.goto('/')
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible()
  await page.keyboard.press('Tab')
  await expect(page.getByText('Skip to content')).toBeFocused()
  await tabTo(page, page.getByRole('button', { name: 'Sign in' }))
  await page.keyboard.press('Enter')
  await expect(page.getByLabel('Username')).toBeFocused()
  await page.keyboard.type('alice')
  await page.keyboard.press('Tab')
  await page.keyboard.type('password')
  await page.keyboard.press('Enter')
  await expect(page.getByRole('button', { name: 'Allow' })).toBeFocused()
  await page.keyboard.press('Enter')
  await expect(page.getByText('Welcome, Alice Arai.')).toBeVisible()
  await tabTo(page, page.getByRole('link', { name: 'API', exact: true }))
  await page.keyboard.press('Enter')
  await tabTo(page, page.getByRole('button', { name: 'Call the API' }))
  await page.keyboard.press('Enter')
  await expect(page.getByTestId('api-result').getByText('200')).toBeVisible()
  await tabTo(page, page.getByRole('button', { name: 'Sign out' }))
  await page.keyboard.press('Enter')
  await expect(page).toHaveURL(`${stack.app}/signed-out`)
})

/** Presses Tab until target has the focus; fails after one round. */
async function tabTo(page: Page, target: ReturnType<Page['getByRole']>): Promise<void> {
  for (let i = 0; i < 30; i++) {
    if (await target.evaluate((element) => element === document.activeElement)) return
    await page.keyboard.press('Tab')
  }
  await expect(target).toBeFocused()
}

function words(locale: Locale): (key: MessageKey) => string {
  return (key) => messages[locale][key]
}

/** What the browser has to say about our pages: script errors and refused resources. */
function listen(page: Page): string[] {
  const said: string[] = []
  page.on('pageerror', (error) => said.push(error.message))
  page.on('console', (message) => {
    // An error answer that a page asked for is no fault of the page.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) said.push(message.text())
  })
  return said
}
