// An Express service behind Genkan, which says who is calling in a signed assertion.
import express from 'express'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'

const {
  GENKAN_ISSUER: issuer = 'http://localhost:8000',
  AUDIENCE: audience = '/api/express/',
  PORT = '9204',
} = process.env
const { GENKAN_JWKS_URL: jwksUrl = `${issuer}/.well-known/jwks.json` } = process.env

// Kept two minutes; fetched anew for an unknown key, at most every five seconds.
const keys = createRemoteJWKSet(new URL(jwksUrl), { cacheMaxAge: 120_000, cooldownDuration: 5_000 })
const expected = {
  issuer,
  audience,
  algorithms: ['ES256', 'EdDSA'],
  typ: 'JWT',
  requiredClaims: ['exp', 'sub'],
  clockTolerance: 5,
}

/** Was it the keys that could not be fetched, and not the token that is wrong? */
const unavailable = (error) =>
  !(error instanceof errors.JOSEError) || ['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT'].includes(error.code)

async function authenticate(req, res, next) {
  const [, token] = /^Bearer +(\S+)$/i.exec(req.get('authorization') ?? '') ?? []
  if (!token) return res.status(401).set('WWW-Authenticate', 'Bearer').json({ error: 'no token' })
  try {
    req.user = (await jwtVerify(token, keys, expected)).payload
  } catch (error) {
    if (unavailable(error)) return res.status(503).json({ error: "Genkan's keys cannot be fetched" })
    return res.status(401).set('WWW-Authenticate', 'Bearer error="invalid_token"').json({ error: 'invalid token' })
  }
  next()
}

const inGroup = (name) => (req, res, next) =>
  req.user.groups?.includes(name) ? next() : res.status(403).json({ error: `only for the group ${name}` })

function me(req, res) {
  const { sub, email, groups } = req.user
  res.json({ sub, email, groups })
}

const app = express()
app.use(authenticate)
app.get('/me', me)
app.get('/admin', inGroup('admins'), me)
app.listen(Number(PORT), '127.0.0.1')
