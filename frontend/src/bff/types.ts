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

/** One of the user's sessions, in `GET /bff/sessions`. */
export interface ListedSession {
  id: string
  /** It is the session of the browser that asks. */
  current: boolean
  provider: string
  created_at: string
  /** To the minute: more often it is not noted. */
  last_seen_at: string
  /** What the browser said it was at sign-in, in words. */
  browser: string
  /** The address at sign-in. */
  ip: string
  idle_expires_in: number
  absolute_expires_in: number
}

/** `GET /bff/sessions`, the newest first. */
export interface SessionList {
  sessions: ListedSession[]
}

/** `DELETE /bff/sessions?others=true`: how many have ended. */
export interface EndedAnswer {
  ended: number
}

const endReasons = ['signed_out', 'revoked', 'provider', 'limit', 'refused', 'expired', 'ended'] as const

/**
 * Why a session has ended: its user signed out; its user elsewhere or an administrator
 * ended it; the provider says that it is over there; a newer one took its place
 * (`session.max_per_user`); the provider no longer renews it; its time was up; unknown.
 */
export type EndReason = (typeof endReasons)[number]

/** What `GET /bff/events` says, with its data. */
export type SessionEvent =
  | { name: 'expiring'; data: Pick<SessionInfo, 'idle_expires_in' | 'absolute_expires_in'> }
  | { name: 'refreshed'; data: SessionInfo }
  | { name: 'ended'; data: { reason: EndReason } }

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

function isExpiry(value: unknown): value is Pick<SessionInfo, 'idle_expires_in' | 'absolute_expires_in'> {
  return isFields(value) && [value['idle_expires_in'], value['absolute_expires_in']].every(Number.isFinite)
}

function isSessionInfo(value: unknown): value is SessionInfo {
  return (
    isFields(value) &&
    [value['id'], value['provider'], value['created_at']].every((v) => typeof v === 'string') &&
    isExpiry(value)
  )
}

function isListedSession(value: unknown): value is ListedSession {
  return (
    isFields(value) &&
    isSessionInfo(value) &&
    [value['last_seen_at'], value['browser'], value['ip']].every((v) => typeof v === 'string') &&
    typeof value['current'] === 'boolean'
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

export function isSessionList(value: unknown): value is SessionList {
  return isFields(value) && Array.isArray(value['sessions']) && value['sessions'].every(isListedSession)
}

export function isEndedAnswer(value: unknown): value is EndedAnswer {
  return isFields(value) && Number.isFinite(value['ended'])
}

export function isEndReason(value: unknown): value is EndReason {
  return endReasons.some((reason) => reason === value)
}

/** A reason that is not known yet is no reason to miss the end. */
export function asSessionEvent(name: string, data: unknown): SessionEvent | undefined {
  if (name === 'ended') {
    const reason = isFields(data) ? data['reason'] : undefined
    return { name, data: { reason: isEndReason(reason) ? reason : 'ended' } }
  }
  if (name === 'refreshed' && isSessionInfo(data)) return { name, data }
  if (name === 'expiring' && isExpiry(data)) return { name, data }
  return undefined
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
