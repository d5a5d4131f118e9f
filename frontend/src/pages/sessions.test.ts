import { flushPromises, mount, type DOMWrapper, type VueWrapper } from '@vue/test-utils'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createMemoryHistory } from 'vue-router'
import App from '../App.vue'
import { createClient } from '../bff/client'
import { createSession, type Session } from '../bff/session'
import sessionIn from '../bff/testdata/session_in.json'
import sessionOut from '../bff/testdata/session_out.json'
import sessionsFile from '../bff/testdata/sessions.json'
import type { ListedSession } from '../bff/types'
import { createI18n } from '../i18n'
import { createRouter } from '../router'
import { createGate } from '../router/guards'

const mine = sessionsFile.sessions[0] as ListedSession
const phone = sessionsFile.sessions[1] as ListedSession
const tablet = { ...phone, id: 'aTablet', browser: 'Safari 18 on iPadOS' }
const storeDown = { code: 'store_unavailable', status: 503, title: 'The session store does not answer' }

/** Genkan, as far as this page asks it. */
class Server {
  sessions: ListedSession[] = [phone, mine]
  answer: unknown = sessionIn
  /** What it says instead, for the next call of that line. */
  readonly instead = new Map<string, [status: number, body: unknown]>()
  readonly asked: string[] = []

  fetch = (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input)
    const line = `${init?.method ?? 'GET'} ${url.pathname}${url.search}`
    this.asked.push(line)
    const [status, body] = this.instead.get(line) ?? this.#answer(line)
    this.instead.delete(line)
    const text = body === undefined ? null : JSON.stringify(body)
    return Promise.resolve(new Response(text, { status, headers: { 'Content-Type': 'application/json' } }))
  }

  #answer(line: string): [status: number, body: unknown] {
    const id = /^DELETE \/bff\/sessions\/(.+)$/.exec(line)?.[1]
    if (id !== undefined) {
      const there = this.sessions.some((s) => s.id === id)
      this.sessions = this.sessions.filter((s) => s.id !== id)
      return there ? [204, undefined] : [404, { code: 'not_found', status: 404 }]
    }
    switch (line.replace('?slide=false', '')) {
      case 'GET /bff/session':
        return [200, this.answer]
      case 'GET /bff/sessions':
        return [200, { sessions: this.sessions }]
      case 'DELETE /bff/sessions?others=true': {
        const ended = this.sessions.length - 1
        this.sessions = [mine]
        return [200, { ended }]
      }
      default:
        return line.startsWith('POST /bff/logout') ? [200, { url: '/signed-out' }] : [404, {}]
    }
  }
}

let server: Server
let app: VueWrapper
let session: Session

async function open(): Promise<void> {
  session = createSession(createClient({ baseUrl: 'http://localhost:8000', fetch: server.fetch }))
  const history = createMemoryHistory()
  history.replace('/sessions')
  const router = createRouter(history)
  const plugins = [session, createI18n(), createGate(router, session), router]
  app = mount(App, { global: { plugins }, attachTo: document.body })
  await flushPromises()
}

function rows(): string[] {
  return app.findAll('main li').map((li) => li.get('h2').text())
}

function button(text: string): DOMWrapper<Element> | undefined {
  return app.findAll('main button').find((b) => b.text() === text)
}

async function press(text: string): Promise<void> {
  expect(button(text)?.text(), `a button “${text}”`).toBe(text)
  await button(text)?.trigger('click')
  await flushPromises()
}

function focused(): string {
  return document.activeElement?.textContent.trim() ?? ''
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.parse('2026-11-21T10:00:00Z') })
  server = new Server()
})

afterEach(() => {
  app.unmount()
  vi.useRealTimers()
})

describe('the list', () => {
  it('has this browser first, and says so', async () => {
    await open()
    expect(rows()).toEqual(['Firefox 145 on Linux', 'Safari 18 on iOS'])
    expect(app.findAll('main li').map((li) => li.text().includes('This browser'))).toEqual([true, false])
  })

  it('says where from, since when and when last', async () => {
    await open()
    const text = app.findAll('main li')[1]?.text()
    for (const part of ['2001:db8::1f', 'dev', '57 minutes ago', '1 hour ago']) expect(text).toContain(part)
    expect(
      app
        .findAll('main li')[1]
        ?.findAll('time')
        .map((t) => t.attributes('datetime')),
    ).toEqual(['2026-11-21T09:02:44Z', '2026-11-21T08:15:30Z'])
  })

  it('shows a hostile browser as text', async () => {
    server.sessions = [mine, { ...phone, browser: '<img src=x onerror=alert(1)>' }]
    await open()
    expect(rows()).toContain('<img src=x onerror=alert(1)>')
    expect(app.find('main img').exists()).toBe(false)
  })

  it('with one session offers to end no other', async () => {
    server.sessions = [mine]
    await open()
    expect(app.get('main').text()).toContain('You are signed in nowhere else.')
    expect(button('End all others')).toBeUndefined()
  })

  it('that cannot be had can be asked for again', async () => {
    server.instead.set('GET /bff/sessions', [503, storeDown])
    await open()
    expect(app.get('main [role=alert]').text()).toContain('store_unavailable')
    expect(rows()).toEqual([])
    await press('Try again')
    expect(rows()).toHaveLength(2)
    expect(app.find('main [role=alert]').exists()).toBe(false)
  })

  it('that is none is an error', async () => {
    server.instead.set('GET /bff/sessions', [200, { hello: 'world' }])
    await open()
    expect(app.get('main [role=alert]').text()).toContain('not_json')
  })
})

describe('ending another session', () => {
  it('asks first, with the focus where Enter ends nothing', async () => {
    await open()
    await press('End')
    expect(focused()).toBe('Cancel')
    await press('Cancel')
    expect(focused()).toBe('End')
    await press('End')
    await button('Cancel')?.trigger('keydown', { key: 'Escape' })
    await flushPromises()
    expect([focused(), rows().length]).toEqual(['End', 2])
    expect(server.asked.filter((line) => line.startsWith('DELETE'))).toEqual([])
  })

  it('ends that one, says so, and shows what is left', async () => {
    server.sessions = [tablet, phone, mine]
    await open()
    await app.get('main button[aria-label="End the session of Safari 18 on iPadOS"]').trigger('click')
    await press('End it')
    expect(server.asked).toContain('DELETE /bff/sessions/aTablet')
    expect(rows()).toEqual(['Firefox 145 on Linux', 'Safari 18 on iOS'])
    expect(focused()).toBe('The session of Safari 18 on iPadOS has ended.')
  })

  it('is done when it was over already', async () => {
    await open()
    server.sessions = [mine]
    await press('End')
    await press('End it')
    expect(app.find('main [role=alert]').exists()).toBe(false)
    expect(rows()).toEqual(['Firefox 145 on Linux'])
  })

  it('that fails leaves the list and says why', async () => {
    await open()
    server.instead.set('DELETE /bff/sessions/Zr8eYp5wQ4cL', [503, storeDown])
    await press('End')
    await press('End it')
    expect(app.get('main [role=alert]').text()).toContain('store_unavailable')
    expect(rows()).toHaveLength(2)
    expect(document.activeElement).toBe(app.get('main .news').element)
  })
})

describe('ending all others', () => {
  it('asks first, then leaves this one', async () => {
    server.sessions = [tablet, phone, mine]
    await open()
    await press('End all others')
    expect(rows()).toHaveLength(3)
    await press('End them all')
    expect(rows()).toEqual(['Firefox 145 on Linux'])
    expect(focused()).toBe('Other sessions that have ended: 2.')
  })
})

describe('this session', () => {
  it('is ended by signing out', async () => {
    const assign = vi.spyOn(window.location, 'assign').mockImplementation(() => undefined)
    await open()
    await press('Sign out')
    expect(server.asked.at(-1)).toMatch(/^POST \/bff\/logout\?/)
    expect(assign).toHaveBeenCalledOnce()
    expect(app.get('main h1').text()).toBe('Signed out')
  })

  it('that has ended shows no other', async () => {
    await open()
    server.answer = sessionOut
    server.instead.set('DELETE /bff/sessions/Zr8eYp5wQ4cL', [401, { code: 'unauthenticated', status: 401 }])
    await press('End')
    await press('End it')
    expect(rows()).toEqual([])
    expect(app.get('[role=alert]').text()).toContain('Your session has ended.')
  })

  it('of another user has nothing of the first one', async () => {
    await open()
    server.answer = { ...sessionIn, user: { sub: 'bob' }, session: { ...sessionIn.session, id: 'bobs' } }
    server.sessions = [{ ...mine, id: 'bobs', browser: 'Chrome 141 on Windows' }]
    const before = rows()
    await session.check()
    await flushPromises()
    expect([before, rows()]).toEqual([['Firefox 145 on Linux', 'Safari 18 on iOS'], ['Chrome 141 on Windows']])
  })
})
