/** The providers, as the person at the browser and as the test sees them. */
import { expect, type Page } from '@playwright/test'
import { join } from 'node:path'
import { Program } from './program'

export type User = 'alice' | 'bob'

export interface Provider {
  origin: string
  /** What Genkan is told as the user's `sub`. */
  subjects: Readonly<Record<User, string>>
  program: Program
  /** Every token given out so far. */
  issued(): Promise<string[]>
  /** Makes access tokens issued from now on short-lived. */
  shorten(): Promise<void>
  /** Fills in the provider's pages, from the first one on. */
  signIn(page: Page, user: User): Promise<void>
  /** Answers the provider's question at sign-out, if it asks one. */
  confirmSignOut(page: Page): Promise<void>
}

export interface Place {
  /** The repository's folder. */
  root: string
  log: (name: string) => string
}

export async function startDevidp({ root, log }: Place): Promise<Provider> {
  const origin = 'http://127.0.0.1:9000'
  const program = await Program.start({
    command: join(root, 'bin/devidp'),
    args: ['--demo-api'],
    cwd: root,
    log: log('devidp'),
    answersAt: `${origin}/.well-known/openid-configuration`,
  })
  return {
    origin,
    subjects: { alice: 'dev-user-alice-7f3a', bob: 'dev-user-bob-19c4' },
    program,
    issued: () => strings(`${origin}/dev/issued`),
    async shorten() {
      const answer = await fetch(`${origin}/dev/lifetime?access=2s`, { method: 'POST' })
      expect(answer.ok).toBe(true)
    },
    async signIn(page, user) {
      await page.getByLabel('Username').fill(user)
      await page.getByLabel('Password').fill('password')
      await page.getByRole('button', { name: 'Sign in', exact: true }).click()
      await page.getByRole('button', { name: 'Allow' }).click()
    },
    confirmSignOut: async () => {},
  }
}

/** npm oidc-provider: written by others, with pages, token formats and habits of its own. */
export async function startOidcProvider({ root, log }: Place): Promise<Provider> {
  const origin = 'http://127.0.0.1:9010'
  const program = await Program.start({
    command: join(root, 'scripts/providers/oidc-provider/start'),
    cwd: root,
    env: { ACCESS_TOKEN_SECONDS: '5' },
    log: log('oidc-provider'),
    answersAt: `${origin}/.well-known/openid-configuration`,
    patience: 180, // it may have to install itself first
  })
  return {
    origin,
    subjects: { alice: 'alice', bob: 'bob' },
    program,
    issued: () => strings('http://127.0.0.1:9110/dev/issued'),
    shorten: async () => {}, // they live five seconds from the start
    async signIn(page, user) {
      await page.getByPlaceholder('Enter any login').fill(user)
      await page.getByPlaceholder('and password').fill('password')
      await page.getByRole('button', { name: 'Sign-in' }).click()
      await page.getByRole('button', { name: 'Continue' }).click()
    },
    async confirmSignOut(page) {
      await page.getByRole('button', { name: 'Yes, sign me out' }).click()
    },
  }
}

async function strings(url: string): Promise<string[]> {
  const answer: unknown = (await (await fetch(url)).json()) ?? [] // Go's empty list
  if (!Array.isArray(answer) || !answer.every((s) => typeof s === 'string'))
    throw new Error(`${url} is no list of strings`)
  return answer
}
