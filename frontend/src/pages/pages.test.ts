import { mount, flushPromises, type VueWrapper } from '@vue/test-utils'
import { afterEach, describe, expect, it } from 'vitest'
import { createMemoryHistory } from 'vue-router'
import App from '../App.vue'
import { createClient } from '../bff/client'
import { createSession } from '../bff/session'
import problem401 from '../bff/testdata/problem_401.json'
import sessionIn from '../bff/testdata/session_in.json'
import sessionOut from '../bff/testdata/session_out.json'
import { createI18n } from '../i18n'
import { createRouter } from '../router'
import { createGate } from '../router/guards'

type Answers = Record<string, [status: number, body: unknown]>

let app: VueWrapper | undefined

/** The whole app at an address, before a server that answers by path. */
async function open(path: string, answers: Answers) {
  const fetch = (input: RequestInfo | URL) => {
    const [status, body] = answers[new URL(input instanceof Request ? input.url : input).pathname] ?? [404, {}]
    return Promise.resolve(
      new Response(JSON.stringify(body), { status, headers: { 'Content-Type': 'application/json' } }),
    )
  }
  const session = createSession(createClient({ baseUrl: 'http://localhost:8000', fetch }))
  const history = createMemoryHistory()
  history.replace(path)
  const router = createRouter(history)
  const gate = createGate(router, session)
  app = mount(App, { global: { plugins: [session, createI18n(), gate, router] }, attachTo: document.body })
  await flushPromises()
  return app
}

function buttons(): string[] {
  return app?.findAll('button').map((b) => b.text()) ?? []
}

afterEach(() => app?.unmount())

describe('home', () => {
  it('has one button for one provider', async () => {
    const one = { ...sessionOut, providers: sessionOut.providers.slice(0, 1) }
    await open('/', { '/bff/session': [200, one] })
    expect(buttons().filter((text) => text.startsWith('Sign in'))).toEqual(['Sign in'])
  })

  it('has a button for each provider', async () => {
    await open('/', { '/bff/session': [200, sessionOut] })
    expect(buttons().filter((text) => text.startsWith('Sign in'))).toEqual([
      'Sign in with Development provider',
      'Sign in with Company Okta',
    ])
  })

  it('greets who is signed in', async () => {
    const home = await open('/', { '/bff/session': [200, sessionIn] })
    expect(home.text()).toContain('Welcome, Alice Adams.')
    expect(buttons()).toContain('Sign out')
  })
})

describe('profile', () => {
  it('shows the claims and when the session ends', async () => {
    const profile = await open('/profile', { '/bff/session': [200, sessionIn] })
    expect(profile.get('[data-testid=user-name]').text()).toBe('Alice Adams')
    expect(profile.get('table').text()).toContain('everyone, admins')
    expect(profile.text()).toMatch(/1:00:00|59:5\d/)
  })

  it('shows a hostile claim as text', async () => {
    const user = { sub: 'eve', name: '<img src=x onerror=alert(1)>', evil: { deep: ['<script>'] } }
    const profile = await open('/profile', { '/bff/session': [200, { ...sessionIn, user }] })
    expect(profile.get('[data-testid=user-name]').text()).toBe('<img src=x onerror=alert(1)>')
    expect(profile.find('main img').exists()).toBe(false)
    expect(profile.get('table').text()).toContain('{"deep":["<script>"]}')
  })
})

describe('the API page', () => {
  it('shows the answer', async () => {
    const page = await open('/demo', { '/bff/session': [200, sessionIn], '/api/demo/hello': [200, { message: 'hi' }] })
    await page.get('form').trigger('submit')
    await flushPromises()
    expect(page.get('[data-testid=api-result]').text()).toContain('"message": "hi"')
  })

  it('keeps the page and offers to sign in again when the session has ended', async () => {
    const page = await open('/demo', { '/bff/session': [200, sessionIn], '/api/demo/hello': [401, problem401] })
    await page.get('form').trigger('submit')
    await flushPromises()
    expect(page.get('[data-testid=api-result]').text()).toContain('unauthenticated')
    expect(page.get('[role=alert]').text()).toContain('Your session has ended.')
    expect(buttons()).toContain('Sign in again')
  })
})

describe('every page', () => {
  it.each(['/', '/signed-out', '/problem', '/no/such/page'])('%s has one main heading and a title', async (path) => {
    const page = await open(path, { '/bff/session': [200, sessionOut] })
    expect(page.findAll('h1')).toHaveLength(1)
    expect(document.title).toMatch(/ · Genkan$/)
  })

  it('changes its language at once', async () => {
    await open('/', { '/bff/session': [200, sessionOut] })
    await app
      ?.findAll('button')
      .find((b) => b.text() === '日本語')
      ?.trigger('click')
    expect(document.documentElement.lang).toBe('ja')
    expect(app?.get('h1').text()).toBe('トークンは、玄関で脱いで。')
    localStorage.clear()
  })
})
