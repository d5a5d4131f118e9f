// A small API behind Genkan. It says what it was called with, after it has verified the
// token and, for one that is bound to a key, the proof of possession (RFC 9449), by `jose`
// and not by Genkan's code.
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { calculateJwkThumbprint, EmbeddedJWK, jwtVerify } from 'jose'

/** This server's own: a proof with the provider's nonce, or with none, is sent back. */
const nonce = randomBytes(16).toString('base64url')
const proofs = new Set()

/**
 * serve listens at the address. find(token) resolves to {sub, scope, jkt, expiresIn} of a
 * good access token and rejects any other.
 */
export function serve(address, find) {
  const answer = async (request) => {
    const url = new URL(request.url, address)
    const { scheme, found } = await authorize(request, url, find)
    return {
      sub: found.sub,
      scope: found.scope,
      authorization_scheme: scheme,
      token_expires_in: found.expiresIn,
      request_headers: Object.keys(request.headers),
    }
  }
  createServer((request, response) => {
    const send = (status, body) => {
      response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', 'DPoP-Nonce': nonce })
      response.end(JSON.stringify(body))
    }
    answer(request).then(
      (body) => send(200, body),
      ({ message, code }) => {
        const error = code === 'use_dpop_nonce' ? code : 'invalid_token'
        console.error(`API: ${error}: ${message}`)
        response.setHeader('WWW-Authenticate', `${request.headers.dpop ? 'DPoP' : 'Bearer'} error="${error}"`)
        send(401, { error })
      },
    )
  }).listen(Number(new URL(address).port), '127.0.0.1', () => console.log(`API: ${address}`))
}

/** A token that is bound to a key counts with a proof by that key alone, any other as a bearer token (section 7.2). */
async function authorize(request, url, find) {
  const [, scheme, token] = /^(Bearer|DPoP) (\S+)$/i.exec(request.headers.authorization ?? '') ?? []
  if (!token) throw new Error('there is no token')
  const found = await find(token)
  if (Boolean(found.jkt) !== /dpop/i.test(scheme)) throw new Error(`the token came as ${scheme}`)
  if (found.jkt && (await checkProof(request, url, token)) !== found.jkt) throw new Error('the proof is by another key')
  return { scheme, found }
}

/** Section 4.3. Resolves to the thumbprint of the proof's key. */
async function checkProof(request, url, token) {
  const { payload, protectedHeader } = await jwtVerify(request.headers.dpop ?? '', EmbeddedJWK, {
    algorithms: ['ES256', 'PS256', 'RS256', 'EdDSA', 'Ed25519'],
    typ: 'dpop+jwt',
    maxTokenAge: 60,
    clockTolerance: 5,
    requiredClaims: ['jti'],
  })
  const ath = createHash('sha256').update(token).digest('base64url')
  const expected = { htm: request.method, htu: url.origin + url.pathname, ath }
  for (const [claim, value] of Object.entries(expected)) {
    if (payload[claim] !== value) throw new Error(`the proof's ${claim} is not ${value}`)
  }
  if (payload.nonce !== nonce) throw Object.assign(new Error('no nonce of this server'), { code: 'use_dpop_nonce' })
  if (proofs.has(payload.jti)) throw new Error('the proof was used before')
  proofs.add(payload.jti)
  return calculateJwkThumbprint(protectedHeader.jwk)
}
