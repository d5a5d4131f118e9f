/**
 * The wire contract of Genkan's endpoints, as a browser app sees it. The JSON files
 * in testdata are its examples; the server's tests read the same files.
 */

/** One way to sign in. `login_url` is absolute and meant for a page load. */
export interface Provider {
  id: string
  name: string
  login_url: string
}

/** The user's claims. `sub` is always there, the others are as the provider gives them. */
export interface Claims {
  sub: string
  [claim: string]: unknown
}

/** The session's facts. Seconds are relative, because clocks of browsers are wrong. */
export interface SessionInfo {
  id: string
  provider: string
  created_at: string
  /** Seconds until the session ends without activity. */
  idle_expires_in: number
  /** Seconds until the session ends in any case. */
  absolute_expires_in: number
  /** When the user last authenticated at the provider. */
  auth_time?: string
  acr?: string
}

/** `GET /bff/session` without a session. */
export interface SignedOut {
  authenticated: false
  providers: Provider[]
}

/** `GET /bff/session` with a session, and `POST /bff/refresh`. */
export interface SignedIn {
  authenticated: true
  user: Claims
  session: SessionInfo
  logout_url: string
}

export type SessionAnswer = SignedOut | SignedIn

/** `GET /bff/user`: the shape of Duende's BFF, for apps that come from it. */
export type UserClaims = { type: string; value: unknown }[]

/** `POST /bff/logout`: where to navigate for the provider to end its session too. */
export interface LogoutAnswer {
  url: string
}

/** The body of every error answer (RFC 9457). */
export interface Problem {
  type: string
  title: string
  status: number
  code: string
  detail?: string
  request_id?: string
  /** With 401: navigate here to sign in. */
  login_url?: string
}

type Fields = Record<string, unknown>

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isProvider(value: unknown): value is Provider {
  return isFields(value) && [value['id'], value['name'], value['login_url']].every((v) => typeof v === 'string')
}

function isSessionInfo(value: unknown): value is SessionInfo {
  return (
    isFields(value) &&
    [value['id'], value['provider'], value['created_at']].every((v) => typeof v === 'string') &&
    [value['idle_expires_in'], value['absolute_expires_in']].every(Number.isFinite)
  )
}

function isClaims(value: unknown): value is Claims {
  return isFields(value) && typeof value['sub'] === 'string'
}

/** Tells an answer of `/bff/session` from whatever else may stand at that address. */
export function isSessionAnswer(value: unknown): value is SessionAnswer {
  if (!isFields(value)) return false
  if (value['authenticated'] === false) {
    return Array.isArray(value['providers']) && value['providers'].every(isProvider)
  }
  return (
    value['authenticated'] === true &&
    isClaims(value['user']) &&
    isSessionInfo(value['session']) &&
    typeof value['logout_url'] === 'string'
  )
}

export function isLogoutAnswer(value: unknown): value is LogoutAnswer {
  return isFields(value) && typeof value['url'] === 'string'
}

export function isProblem(value: unknown): value is Problem {
  return isFields(value) && typeof value['code'] === 'string' && typeof value['status'] === 'number'
}

export function isUserClaims(value: unknown): value is UserClaims {
  return Array.isArray(value) && value.every((v) => isFields(v) && typeof v['type'] === 'string' && 'value' in v)
}
