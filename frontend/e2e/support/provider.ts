/** The providers, as the person at the browser and as the test sees them. */
import { expect, type Page } from '@playwright/test'
import { join } from 'node:path'
import { Program } from './program'
import type { Witness } from './witness'

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
  /** Of those that others wrote. */
  manners?: Manners
  witness?: Witness
}

export interface Manners {
  /** Fails at the provider's pages in the way that it has, and is at the first one again. */
  refuse(page: Page): Promise<void>
  /** Signs out at the provider itself, without Genkan. */
  signOutThere(page: Page): Promise<void>
  /** Whether it then tells Genkan (OpenID Connect Back-Channel Logout). */
  tells: boolean
}

export interface Place {
  /** The repository's folder. */
  root: string
  log: (name: string) => string
}

const devidp = 'http://127.0.0.1:9000'

/** Starts it with what its client genkan-dev has registered, as flags. */
export async function startDevidp({ root, log }: Place, registered: readonly string[]): Promise<Provider> {
  const origin = devidp
  const program = await Program.start({
    command: join(root, 'bin/devidp'),
    args: ['--demo-api', ...registered],
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

/** Signs out at the provider itself, as who wants to leave all applications does. */
export async function signOutAtDevidp(page: Page): Promise<void> {
  await page.goto(devidp)
  await page.getByRole('link', { name: 'Sign out here' }).click()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await expect(page.getByRole('heading', { name: 'Signed out' })).toBeVisible()
}

/** The next answer that this fault of devidp is about has it. */
export async function injectFault(name: string): Promise<void> {
  const answer = await fetch(`${devidp}/dev/fault?name=${name}&times=1`, { method: 'POST' })
  expect(answer.ok).toBe(true)
}

async function strings(url: string): Promise<string[]> {
  const answer: unknown = (await (await fetch(url)).json()) ?? [] // Go's empty list
  if (!Array.isArray(answer) || !answer.every((s) => typeof s === 'string'))
    throw new Error(`${url} is no list of strings`)
  return answer
}
