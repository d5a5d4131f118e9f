import { existsSync } from 'node:fs'
import { defineConfig, devices } from '@playwright/test'
import type { Options } from './e2e/support/test'

const browsers = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
]
const executablePath = process.env['GENKAN_CHROMIUM'] ?? browsers.find((path) => existsSync(path))
if (executablePath === undefined) {
  throw new Error(
    'No Chromium found: install it (Debian: apt-get install chromium), or set GENKAN_CHROMIUM to its path.',
  )
}

/** What is the same wherever the app and the provider are. */
const journey = /main\.spec\.ts/

/** Deployments at providers that others wrote, but those that scripts/test could not install on this machine. */
const without = process.env['GENKAN_E2E_WITHOUT']?.split(' ') ?? []
const others = ['oidc-provider', 'oidc-provider-fapi', 'keycloak', 'keycloak-fapi', 'django-oauth-toolkit'] as const

export default defineConfig<object, Options>({
  testDir: 'e2e',
  outputDir: 'test-results/tests',
  globalSetup: './e2e/support/build.ts',
  // Every deployment uses the ports of scripts/dev: one at a time.
  workers: 1,
  fullyParallel: false,
  forbidOnly: Boolean(process.env['CI']),
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 15_000 },
  reporter: [['list'], ['html', { open: 'never', outputFolder: 'playwright-report' }]],
  use: {
    ...devices['Desktop Chrome'],
    locale: 'en-GB',
    launchOptions: {
      executablePath,
      // Chromium's sandbox refuses to run as root, which containers are.
      args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    },
    trace: 'retain-on-failure',
    screenshot: 'only-on-failure',
  },
  projects: [
    {
      name: 'own-port',
      use: { deployment: 'own-port' },
      testIgnore: /(form_post|form_page|front_channel|a11y|providers|fapi)\.spec\.ts/,
    },
    { name: 'proxy', use: { deployment: 'proxy' }, testMatch: journey },
    { name: 'embedded', use: { deployment: 'embedded' }, testMatch: /(main|a11y|form_page)\.spec\.ts/ },
    { name: 'form-post', use: { deployment: 'form-post' }, testMatch: /form_post\.spec\.ts/ },
    { name: 'front-channel', use: { deployment: 'front-channel' }, testMatch: /front_channel\.spec\.ts/ },
    ...others
      .filter((deployment) => !without.includes(deployment.replace(/-fapi$/, '')))
      .map((deployment) => ({
        name: deployment,
        use: { deployment },
        testMatch: deployment.endsWith('-fapi')
          ? [journey, /(providers|fapi)\.spec\.ts/]
          : [journey, /providers\.spec\.ts/],
      })),
  ],
})
