import { describe, expect, it } from 'vitest'
import events from './testdata/events.json'
import logout from './testdata/logout.json'
import problem401 from './testdata/problem_401.json'
import sessionIn from './testdata/session_in.json'
import sessionOut from './testdata/session_out.json'
import sessions from './testdata/sessions.json'
import sessionsEnded from './testdata/sessions_ended.json'
import userClaims from './testdata/user.json'
import {
  asSessionEvent,
  isEndedAnswer,
  isLogoutAnswer,
  isProblem,
  isSessionAnswer,
  isSessionList,
  isUserClaims,
  type EndedAnswer,
  type LogoutAnswer,
  type Problem,
  type SessionInfo,
  type SessionList,
  type SignedIn,
  type UserClaims,
} from './types'

describe('the golden files of the wire contract', () => {
  it('fit the types', () => {
    // The compiler checks these; `authenticated` is a literal that JSON imports widen.
    const signedIn: Omit<SignedIn, 'authenticated'> = sessionIn
    const problem: Problem = problem401
    const claims: UserClaims = userClaims
    const answer: LogoutAnswer = logout
    const list: SessionList = sessions
    const ended: EndedAnswer = sessionsEnded
    const renewed: SessionInfo = events.refreshed
    expect([list.sessions[1]?.last_seen_at, ended.ended, renewed.idle_expires_in]).toEqual([
      '2026-11-21T09:02:44Z',
      2,
      3600,
    ])
    expect([signedIn.session.idle_expires_in, problem.code, claims.length, answer.url]).toEqual([
      3600,
      'unauthenticated',
      8,
      'http://127.0.0.1:9000/logout?client_id=genkan&state=a1b2c3',
    ])
  })

  it.each([
    ['session_out.json', isSessionAnswer, sessionOut],
    ['session_in.json', isSessionAnswer, sessionIn],
    ['user.json', isUserClaims, userClaims],
    ['problem_401.json', isProblem, problem401],
    ['logout.json', isLogoutAnswer, logout],
    ['sessions.json', isSessionList, sessions],
    ['sessions_ended.json', isEndedAnswer, sessionsEnded],
  ])('%s is recognised', (_name, recognise, file) => {
    expect(recognise(file)).toBe(true)
  })

  it.each([
    ['null', null],
    ['a page', '<!doctype html>'],
    ['an empty object', {}],
    ['signed in without a session', { ...sessionIn, session: undefined }],
    ['signed in without sub', { ...sessionIn, user: { name: 'Alice' } }],
    ['an expiry that is text', { ...sessionIn, session: { ...sessionIn.session, idle_expires_in: '3600' } }],
    ['signed out without providers', { authenticated: false }],
    ['a provider without login_url', { authenticated: false, providers: [{ id: 'dev', name: 'Dev' }] }],
    ['authenticated as text', { ...sessionIn, authenticated: 'true' }],
  ])('%s is no session answer', (_name, value) => {
    expect(isSessionAnswer(value)).toBe(false)
  })

  it.each([
    ['no list', { sessions: null }],
    ['an entry without an address', { sessions: [{ ...sessions.sessions[0], ip: undefined }] }],
    ['an entry that does not say whose', { sessions: [{ ...sessions.sessions[0], current: 'true' }] }],
    ['an entry that is a list', { sessions: [[]] }],
  ])('%s is no list of sessions', (_name, value) => {
    expect(isSessionList(value)).toBe(false)
  })

  it.each(Object.entries(events))('events.json: %s is recognised', (name, data) => {
    expect(asSessionEvent(name, data)).toEqual({ name, data })
  })
})
