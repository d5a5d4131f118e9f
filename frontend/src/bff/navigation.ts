/** Where sign-in and sign-out lead: the addresses a page load goes to. */
import type { Client } from './client'
import { isLogoutAnswer } from './types'

export interface LoginOptions {
  /** Default: the page as it is now. */
  returnUrl?: string
  /** Default: the server's first one. */
  provider?: string
  prompt?: 'none' | 'login' | 'consent' | 'select_account'
  /** A problem's `login_url`, for a stronger sign-in. Ignored when it is not Genkan's. */
  loginUrl?: string
}

/** What the server takes as a return URL. */
const longestReturnUrl = 2048

export function loginAddress({ base, prefix }: Client, here: string, options: LoginOptions): string {
  const offered = parse(options.loginUrl ?? '', base)
  const url = offered?.origin === base && options.loginUrl ? offered : new URL(`${prefix}/login`, base)
  if (options.provider) url.searchParams.set('provider', options.provider)
  if (options.prompt) url.searchParams.set('prompt', options.prompt)
  url.searchParams.set('returnUrl', shortened(new URL(options.returnUrl ?? here, here)))
  return url.href
}

/** The answer leads to the provider, so any host will do, but only by http or https. */
export function afterLogout({ base }: Client, answer: unknown, home: string): string {
  const next = isLogoutAnswer(answer) ? parse(answer.url, base) : undefined
  return next && /^https?:$/.test(next.protocol) ? next.href : home
}

/** Cuts from the end what the server would refuse for its length. */
function shortened({ href, origin, pathname, search }: URL): string {
  const shapes = [href, origin + pathname + search, origin + pathname]
  return shapes.find((shape) => shape.length <= longestReturnUrl) ?? `${origin}/`
}

function parse(url: string, base: string): URL | undefined {
  return URL.canParse(url, base) ? new URL(url, base) : undefined
}
