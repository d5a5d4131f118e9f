// An OpenID provider that Genkan's authors did not write, and a small API that asks it
// about the tokens it gets. For tests on this machine only: its sign-in page takes any
// password, and /dev/issued shows every token.
//
// Unlike devidp it issues opaque access tokens, keeps the user's claims to UserInfo,
// gives offline_access only with prompt=consent, and asks before it signs out. All
// of that is what oidc-provider does by itself.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { Provider } from 'oidc-provider'

const issuer = process.env.ISSUER ?? 'http://127.0.0.1:9010'
const api = new URL(process.env.API ?? 'http://127.0.0.1:9110')
const list = (name, ...fallback) => process.env[name]?.split(',') ?? fallback
const accessTokenSeconds = Number(process.env.ACCESS_TOKEN_SECONDS ?? 300)

const users = {
  alice: { name: 'Alice Arai', email: 'alice@example.com', email_verified: true, groups: ['staff', 'admins'] },
  bob: { name: 'Bob Baker', email: 'bob@example.com', email_verified: false, groups: ['staff'] },
}

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'genkan',
      client_secret: process.env.CLIENT_SECRET ?? 'only-for-tests-on-this-machine-1',
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: list('REDIRECT_URIS', 'http://localhost:8000/bff/callback', 'http://localhost:5173/bff/callback'),
      post_logout_redirect_uris: list(
        'POST_LOGOUT_REDIRECT_URIS',
        'http://localhost:8000/bff/logout/callback',
        'http://localhost:5173/bff/logout/callback',
      ),
    },
  ],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  scopes: ['openid', 'offline_access'],
  features: { revocation: { enabled: true } },
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
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  findAccount: (_ctx, id) =>
    users[id] && { accountId: id, claims: () => ({ sub: id, preferred_username: id, ...users[id] }) },
})

const issued = []
provider.on('grant.success', ({ body }) => {
  issued.push(...['access_token', 'refresh_token', 'id_token'].map((kind) => body[kind]).filter(Boolean))
})
provider.on('server_error', (_ctx, error) => console.error(error))
for (const event of ['authorization.error', 'grant.error', 'userinfo.error', 'end_session.error', 'revocation.error']) {
  provider.on(event, (_ctx, error) => console.error(event, error.message, error.error_description ?? ''))
}

const send = (response, status, body) => {
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
  response.end(JSON.stringify(body))
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, api)
  if (pathname === '/dev/issued') {
    send(response, 200, issued)
    return
  }
  const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1]
  const token = bearer && (await provider.AccessToken.find(bearer))
  if (!token?.isValid) {
    response.setHeader('WWW-Authenticate', 'Bearer error="invalid_token"')
    send(response, 401, { error: 'invalid_token' })
    return
  }
  send(response, 200, {
    sub: token.accountId,
    scope: token.scope,
    token_expires_in: token.remainingTTL,
    request_headers: Object.keys(request.headers),
  })
}

provider.listen(Number(new URL(issuer).port), '127.0.0.1', () => console.log(`provider: ${issuer}`))
createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error)
    send(response, 500, { error: 'server_error' })
  })
}).listen(Number(api.port), '127.0.0.1', () => console.log(`API: ${api.origin}`))
