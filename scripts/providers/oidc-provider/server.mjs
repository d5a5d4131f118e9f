// An OpenID provider that Genkan's authors did not write, its clients in clients.json, and
// a small API that asks it about the tokens it gets. For tests on this machine only: its
// sign-in page takes any password.
//
// Unlike devidp it issues opaque access tokens, keeps the user's claims to UserInfo,
// gives offline_access only with prompt=consent, and asks before it signs out. All
// of that is what oidc-provider does by itself.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Provider } from 'oidc-provider'
import { serve } from '../api/resource.mjs'

const issuer = process.env.ISSUER ?? 'http://127.0.0.1:9010'
const accessTokenSeconds = Number(process.env.ACCESS_TOKEN_SECONDS ?? 300)

const users = {
  alice: { name: 'Alice Arai', email: 'alice@example.com', email_verified: true, groups: ['staff', 'admins'] },
  bob: { name: 'Bob Baker', email: 'bob@example.com', email_verified: false, groups: ['staff'] },
}

const key = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' })

const provider = new Provider(issuer, {
  clients: JSON.parse(readFileSync(process.env.CLIENTS ?? new URL('clients.json', import.meta.url), 'utf8')),
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  scopes: ['openid', 'offline_access'],
  features: {
    backchannelLogout: { enabled: true },
    // Which nonce is good changes every minute, and each token request must have one.
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    fapi: { enabled: true, profile: (_ctx, client) => (client?.clientId === 'genkan-fapi' ? '2.0' : undefined) },
    pushedAuthorizationRequests: { enabled: true },
    revocation: { enabled: true },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: accessTokenSeconds,
    AuthorizationCode: 60,
    Grant: 86_400,
    IdToken: 300,
    Interaction: 600,
    RefreshToken: 86_400,
    Session: 86_400,
  },
  jwks: { keys: ['RS256', 'PS256'].map((alg) => ({ ...key(), use: 'sig', alg })) },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  // Its own refuses loopback addresses, and here everything has one.
  fetch: (url, { dispatcher: _, ...options }) => fetch(url, options),
  findAccount: (_ctx, id) =>
    users[id] && { accountId: id, claims: () => ({ sub: id, preferred_username: id, ...users[id] }) },
})

provider.on('server_error', (_ctx, error) => console.error(error))
for (const event of [
  'authorization.error',
  'backchannel.error',
  'end_session.error',
  'grant.error',
  'pushed_authorization_request.error',
  'revocation.error',
  'userinfo.error',
]) {
  provider.on(event, (_ctx, error) => console.error(event, error.message, error.error_description ?? ''))
}

async function find(value) {
  const token = await provider.AccessToken.find(value)
  if (!token?.isValid) throw new Error('the provider does not know this token')
  return { sub: token.accountId, scope: token.scope, jkt: token.jkt, expiresIn: token.remainingTTL }
}

provider.listen(Number(process.env.PORT ?? new URL(issuer).port), '127.0.0.1', () => console.log(`provider: ${issuer}`))
serve(process.env.API ?? 'http://127.0.0.1:9110', find)
