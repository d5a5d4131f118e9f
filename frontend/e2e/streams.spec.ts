/** A WebSocket and a stream of events of a service behind Genkan, in a real browser: who ends them, and how soon. */
import { expectProfile, signIn } from './support/app'
import { signOutAtDevidp } from './support/provider'
import { expect, test, type Page, type Stack } from './support/test'

/** What the page has seen of both by now; times are Date.now(). */
interface Seen {
  hello: string
  ticks: number
  closed?: { code: number; reason: string; at: number }
  ended?: { reason: string; at: number }
}

type Watched = Window & { seen?: Seen }

/** The scripts of a page that listens to both. */
async function listen(page: Page, stack: Stack): Promise<void> {
  await signIn(page, stack)
  await expectProfile(page, 'Alice Arai')
  await page.evaluate((bff) => {
    const seen: Seen = { hello: '', ticks: 0 }
    ;(window as Watched).seen = seen
    const socket = new WebSocket(`${bff.replace('http', 'ws')}/api/demo/ws`)
    socket.onmessage = ({ data }) => (seen.hello = String(data))
    socket.onclose = ({ code, reason }) => (seen.closed = { code, reason, at: Date.now() })
    const stream = new EventSource(`${bff}/api/demo/stream?endless=1`, { withCredentials: true })
    stream.addEventListener('tick', () => seen.ticks++)
    stream.addEventListener('ended', ({ data }: MessageEvent<string>) => {
      const { reason } = JSON.parse(data) as { reason: string }
      seen.ended = { reason, at: Date.now() }
      stream.close()
    })
  }, stack.bff)
  await expect.poll(async () => (await seenBy(page)).ticks).toBeGreaterThan(1)
  expect(JSON.parse((await seenBy(page)).hello)).toMatchObject({ sub: stack.provider.subjects.alice })
}

const seenBy = (page: Page) => page.evaluate(() => (window as Watched).seen ?? { hello: '', ticks: 0 })

/** Both end for this reason, within a second of since. */
async function expectCut(page: Page, reason: string, since: number): Promise<void> {
  await expect.poll(async () => (await seenBy(page)).closed, { timeout: 5_000 }).toMatchObject({ code: 4001, reason })
  await expect.poll(async () => (await seenBy(page)).ended, { timeout: 5_000 }).toMatchObject({ reason })
  const { closed, ended } = await seenBy(page)
  const [socket, stream] = [(closed?.at ?? Infinity) - since, (ended?.at ?? Infinity) - since]
  process.stdout.write(
    `    WebSocket closed after ${socket.toString()} ms, stream ended after ${stream.toString()} ms (${reason})\n`,
  )
  expect(Math.max(socket, stream)).toBeLessThan(1_000)
}

test('signing out in another tab ends them', async ({ page, context, stack }) => {
  await listen(page, stack)
  const second = await context.newPage()
  await second.goto(`${stack.app}/profile`)
  const told = second.waitForResponse((answer) => new URL(answer.url()).pathname === '/bff/logout')
  await second.getByRole('button', { name: 'Sign out' }).click()
  await told
  await expectCut(page, 'signed_out', Date.now())
})

test('signing out at the provider ends them', async ({ page, context, stack }) => {
  await listen(page, stack)
  await signOutAtDevidp(await context.newPage())
  await expectCut(page, 'provider', Date.now())
})

test('an administrator ends them', async ({ page, stack }) => {
  await listen(page, stack)
  expect(await stack.genkan('sessions', 'revoke', '--sub', stack.provider.subjects.alice)).toContain('1 session ended.')
  await expectCut(page, 'revoked', Date.now())
})

test('an administrator ends them by another replica', async ({ page, stack }) => {
  await listen(page, stack)
  const replica = await stack.replica()
  try {
    expect(await replica.genkan('sessions', 'revoke', '--sub', stack.provider.subjects.alice)).toContain(
      '1 session ended.',
    )
    await expectCut(page, 'revoked', Date.now())
  } finally {
    await replica.stop()
  }
})

test('another site gets no WebSocket', async ({ page, stack }) => {
  await signIn(page, stack)
  const foreign = 'http://127.0.0.1:9/' // another site, in the user's browser
  await page.route(foreign, (route) => route.fulfill({ contentType: 'text/html', body: 'Hello' }))
  await page.goto(foreign)
  const outcome = await page.evaluate(
    (bff) =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(`${bff.replace('http', 'ws')}/api/demo/ws`)
        socket.onopen = () => resolve('open')
        socket.onclose = ({ code }) => resolve(`closed ${code.toString()}`)
      }),
    stack.bff,
  )
  expect(outcome).toBe('closed 1006') // the handshake was refused
})
