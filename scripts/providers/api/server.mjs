// The API for a provider whose access tokens are JWTs and that brings none along.
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { serve } from './resource.mjs'

const { ISSUER: issuer, API: address, PARENT: parent } = process.env

let keys
async function find(token) {
  if (!keys) {
    const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json()
    keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
  }
  const { payload } = await jwtVerify(token, keys, { issuer, algorithms: ['RS256', 'ES256', 'PS256'], requiredClaims: ['exp'] })
  // Keycloak signs its ID tokens by the same keys.
  if (!/^(Bearer|DPoP)$/.test(payload.typ)) throw new Error(`a token of type ${payload.typ}`)
  const { sub, scope, exp, cnf } = payload
  return { sub, scope, jkt: cnf?.jkt, expiresIn: exp - Math.floor(Date.now() / 1000) }
}

serve(address, find)

// It ends with the provider, however that one ends.
setInterval(() => {
  try {
    process.kill(Number(parent), 0)
  } catch {
    process.exit()
  }
}, 500)
