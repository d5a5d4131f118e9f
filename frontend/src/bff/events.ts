/**
 * What the server says about the session unasked. A browser opens only six connections
 * to a host (HTTP/1.1), so one tab has the stream for all: the one that holds the lock.
 * It passes on what it hears; when it closes, the next one takes its place. A browser
 * without Web Locks (or a page that is no secure context) has no stream: there the
 * session's own questions must do.
 */
import type { Client } from './client'
import { asSessionEvent, type SessionEvent } from './types'

export interface EventsOptions {
  locks: LockManager | undefined
  /** An event of the session that this tab follows. */
  hear: (event: SessionEvent) => void
  /** The server gives no stream: maybe there is no session either. */
  refused: () => void
  /** 0 to 1, as Math.random. */
  random?: () => number
}

export interface Events {
  /** Follows the session with this id from now on; none by ''. */
  follow: (id: string) => void
  stop: () => void
}

/** What the tab with the stream tells the others. */
interface Passed {
  id: string
  event: SessionEvent
}

/** The same for every tab of this app. */
const name = 'genkan-events'
const kinds = ['expiring', 'refreshed', 'ended'] as const

/** A stream that lasted this long (ms) did work; one that did not makes the next wait longer. */
const lasting = 30_000
const doublings = 5

export function createEvents(client: Client, options: EventsOptions): Events {
  const { locks, hear, refused, random = Math.random } = options
  const channel = new BroadcastChannel(name)
  let followed = ''
  let turn: AbortController | undefined

  channel.addEventListener('message', ({ data }: MessageEvent<Passed>) => {
    if (data.id !== followed) return
    if (data.event.name === 'ended') follow('') // or this tab would take over a stream that is over
    hear(data.event)
  })

  function follow(id: string): void {
    if (id === followed) return
    followed = id
    turn?.abort()
    if (id === '' || !locks) return
    turn = new AbortController()
    const { signal } = turn
    locks
      .request(name, { signal }, () => listen(id, signal))
      .catch((error: unknown) => {
        if (!signal.aborted) throw error
      })
  }

  /** Has the stream, and with it the lock, until the signal. */
  function listen(id: string, signal: AbortSignal): Promise<void> {
    let source: EventSource | undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    let openedAt = Infinity
    let failures = 0

    function open(): void {
      const mine = client.stream()
      source = mine
      openedAt = Infinity
      mine.addEventListener('open', () => (openedAt = performance.now()))
      mine.addEventListener('error', () => {
        const closed = mine.readyState === mine.CLOSED
        again()
        if (closed) refused()
      })
      for (const kind of kinds) mine.addEventListener(kind, (message) => take(kind, message as MessageEvent<string>))
    }

    function take(kind: string, { data }: MessageEvent<string>): void {
      const event = asSessionEvent(kind, parse(data))
      if (!event) return
      channel.postMessage({ id, event } satisfies Passed)
      hear(event)
    }

    /**
     * Later, unless the session turns out to be over. An EventSource would come back
     * after the same short time for ever, and not at all once the server has refused.
     */
    function again(): void {
      source?.close()
      failures = performance.now() - openedAt >= lasting ? 0 : failures + 1
      const wait = (2_000 + 6_000 * random()) * 2 ** Math.min(Math.max(failures - 1, 0), doublings)
      timer = setTimeout(open, wait)
    }

    return new Promise((resolve) => {
      const close = (): void => {
        clearTimeout(timer)
        source?.close()
        resolve()
      }
      if (signal.aborted) {
        close()
        return
      }
      signal.addEventListener('abort', close)
      open()
    })
  }

  return {
    follow,
    stop(): void {
      follow('')
      channel.close()
    },
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
