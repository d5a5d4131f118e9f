/** The providers that others wrote, with pages, token formats and habits of their own: see scripts/providers. */
import { join } from 'node:path'
import { expect, type Page } from '@playwright/test'
import { Program } from './program'
import type { Place, Provider, User } from './provider'
import { Witness } from './witness'

interface Other extends Pick<Provider, 'signIn' | 'confirmSignOut' | 'manners'> {
  issuer: string
  subjects: Provider['subjects']
}

const others = {
  'oidc-provider': {
    issuer: 'http://127.0.0.1:9010',
    subjects: { alice: 'alice', bob: 'bob' },
    async signIn(page: Page, user: User) {
      await page.getByPlaceholder('Enter any login').fill(user)
      await page.getByPlaceholder('and password').fill('password')
      await page.getByRole('button', { name: 'Sign-in' }).click()
      await page.getByRole('button', { name: 'Continue' }).click()
    },
    confirmSignOut: (page: Page) => page.getByRole('button', { name: 'Yes, sign me out' }).click(),
    manners: {
      async refuse(page) {
        await page.getByRole('link', { name: 'Cancel' }).click() // it takes any password
        await page.getByRole('link', { name: 'Try again' }).click()
      },
      async signOutThere(page) {
        await page.goto('http://127.0.0.1:9010/session/end')
        await page.getByRole('button', { name: 'Yes, sign me out' }).click()
        await expect(page.getByText('Sign-out Success')).toBeVisible()
      },
      tells: true,
    },
  },
  keycloak: {
    issuer: 'http://127.0.0.1:9020/realms/genkan',
    subjects: { alice: '5f0c8f0e-3c5c-4a0e-9f4e-a11ce0000001', bob: '5f0c8f0e-3c5c-4a0e-9f4e-b0b000000002' },
    async signIn(page: Page, user: User) {
      await page.getByLabel('Username or email').fill(user)
      await page.getByRole('textbox', { name: 'Password' }).fill('password')
      await page.getByRole('button', { name: 'Sign In' }).click()
    },
    confirmSignOut: async () => {}, // the ID token as a hint is enough for it
    manners: {
      async refuse(page) {
        await page.getByLabel('Username or email').fill('alice')
        await page.getByRole('textbox', { name: 'Password' }).fill('wrong')
        await page.getByRole('button', { name: 'Sign In' }).click()
        await expect(page.getByText('Invalid username or password.')).toBeVisible()
      },
      async signOutThere(page) {
        await page.goto('http://127.0.0.1:9020/realms/genkan/protocol/openid-connect/logout')
        await page.getByRole('button', { name: 'Logout' }).click()
        await expect(page.getByRole('heading', { name: 'You are logged out' })).toBeVisible()
      },
      tells: true,
    },
  },
  'django-oauth-toolkit': {
    issuer: 'http://127.0.0.1:9030/o',
    subjects: { alice: '1', bob: '2' },
    async signIn(page: Page, user: User) {
      await page.getByLabel('Username').fill(user)
      await page.getByLabel('Password').fill('password')
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('button', { name: 'Authorize' }).click()
    },
    confirmSignOut: (page: Page) => page.getByRole('button', { name: 'Logout' }).click(),
    manners: {
      async refuse(page) {
        await page.getByLabel('Username').fill('alice')
        await page.getByLabel('Password').fill('wrong')
        await page.getByRole('button', { name: 'Sign in' }).click()
        await expect(page.getByText('Please enter a correct username and password')).toBeVisible()
      },
      async signOutThere(page) {
        const answer = page.waitForResponse((answer) => answer.request().method() === 'POST')
        await page.goto('http://127.0.0.1:9030/o/logout/')
        await page.getByRole('button', { name: 'Logout' }).click()
        expect((await answer).status()).toBe(302)
      },
      tells: false,
    },
  },
} satisfies Record<string, Other>

export type OtherName = keyof typeof others

/** The provider of a deployment: its name, with or without the profile that Genkan is configured for. */
export function nameOf(deployment: string): OtherName | undefined {
  const name = deployment.replace(/-fapi$/, '')
  return name in others ? (name as OtherName) : undefined
}

/** Starts it with tokens that live five seconds, so that each test sees them renewed. */
export async function startOther(name: OtherName, { root, log }: Place): Promise<Provider> {
  const { issuer, ...other } = others[name]
  const { origin, port } = new URL(issuer)
  const behind = Number(port) + 5
  const program = await Program.start({
    command: join(root, 'scripts/providers', name, 'start'),
    cwd: root,
    env: { ACCESS_TOKEN_SECONDS: '5', PORT: behind.toString() },
    log: log(name),
    answersAt: `http://127.0.0.1:${behind.toString()}${new URL(issuer).pathname}/.well-known/openid-configuration`,
    patience: 480, // the first time it is downloaded
  })
  const witness = await Witness.start(Number(port), behind)
  return {
    ...other,
    origin,
    program,
    witness,
    issued: () => Promise.resolve(witness.tokens),
    shorten: () => Promise.resolve(),
  }
}

/** The provider, with what only these have. */
export function theirs({ provider }: { provider: Provider }) {
  const { manners, witness } = provider
  if (!manners || !witness) throw new Error('this provider is one of ours')
  return { provider, manners, witness }
}
