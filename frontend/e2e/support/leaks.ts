/** The search for what no browser and no log may ever hold. */
import type { Exchange } from './tap'

export interface Evidence {
  /** The provider's origin. */
  provider: string
  exchanges: readonly Exchange[]
  /** By the name of what wrote them. */
  logs: Readonly<Record<string, string>>
}

/**
 * Where a secret was found, in words. A JWT is also looked for by its payload and its
 * signature alone.
 */
export function findSecrets(evidence: Evidence, secrets: Iterable<string>): string[] {
  const needles = [...new Set([...secrets].flatMap(shapes))]
  const found: string[] = []
  const search = (where: string, text: string | Buffer) => {
    for (const needle of needles) {
      if (text.includes(needle))
        found.push(`${needle.slice(0, 6)}… (${needle.length.toString()} characters) in ${where}`)
    }
  }
  const bodies = new Map<string | Buffer, string>()
  for (const exchange of evidence.exchanges) {
    const name = `${exchange.method} ${exchange.url.replace(/\?.*/, '?…')} ${exchange.status.toString()}`
    const { url, headers } = withoutHint(exchange, evidence.provider)
    search(`the URL of ${name}`, url)
    search(`the headers of ${name}`, headers)
    const mayAsk = new URL(exchange.url).origin === evidence.provider || isSignOut(exchange, 200)
    const body = mayAsk ? withoutHintField(exchange.body) : exchange.body
    if (!bodies.has(body)) bodies.set(body, name)
  }
  for (const [body, name] of bodies) search(`the body of ${name}`, body)
  for (const [name, log] of Object.entries(evidence.logs)) search(`the log of ${name}`, log)
  return found
}

/**
 * The one place where the protocol itself makes a token pass through the browser: at
 * sign-out the ID token goes to the provider as id_token_hint (RP-Initiated Logout 2).
 * It may stand in the redirect of a page load, which no script can read, and in the
 * address that the provider is asked at; the provider's own pages then name that
 * address to the provider as their referrer, and may keep it in the form that asks
 * whether to sign out. Too long for an address, it stands in the form of a page load
 * that posts it there.
 */
function withoutHint(exchange: Exchange, provider: string): { url: string; headers: string } {
  const erase = (text: string) => text.replace(/([?&]id_token_hint=)[^&\s]+/, '$1')
  const atProvider = new URL(exchange.url).origin === provider
  const allowed = atProvider ? /^referer:/i : isSignOut(exchange, 302) ? /^location:/i : /^$/
  const headers = [...exchange.sent, ...exchange.received].map((line) => (allowed.test(line) ? erase(line) : line))
  return { url: atProvider ? erase(exchange.url) : exchange.url, headers: headers.join('\n') }
}

function isSignOut({ url, status, sent }: Exchange, expected: number): boolean {
  const isPageLoad = sent.some((line) => /^sec-fetch-mode: navigate$/i.test(line))
  return isPageLoad && status === expected && new URL(url).pathname === '/bff/logout'
}

function withoutHintField(body: Buffer): string | Buffer {
  const field = /(<input [^>]*name="id_token_hint"[^>]*value=")[^"]+/
  return body.includes('id_token_hint') ? body.toString().replace(field, '$1') : body
}

function shapes(secret: string): string[] {
  const [, payload, signature] = /^[\w-]+\.([\w-]+)\.([\w-]+)$/.exec(secret) ?? []
  const parts = payload && signature ? [payload, signature] : []
  return [secret, ...parts, encodeURIComponent(secret)]
}
