import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createClient } from './client'
import { createEvents, type Events } from './events'
import { FakeLocks, fakeStreams } from './fakes'
import events from './testdata/events.json'
import type { SessionEvent } from './types'

let streams: ReturnType<typeof fakeStreams>
let locks: FakeLocks
let stops: (() => void)[]

/** One tab of the browser. */
function tab(options: { locks?: LockManager | undefined; random?: () => number } = {}) {
  const client = createClient({ baseUrl: 'http://localhost:8000', EventSource: streams.EventSource })
  const heard: SessionEvent[] = []
  const refused = vi.fn<() => void>()
  const events: Events = createEvents(client, {
    locks: locks.manager,
    hear: (event) => heard.push(event),
    refused,
    random: () => 0.5,
    ...options,
  })
  stops.push(events.stop)
  return { ...events, heard, refused }
}

/** Lets locks be granted and messages arrive. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20))
}

beforeEach(() => {
  streams = fakeStreams()
  locks = new FakeLocks()
  stops = []
})

afterEach(() => {
  for (const stop of stops) stop()
  vi.useRealTimers()
})

describe('the stream', () => {
  it('is of Genkan, with the cookie', async () => {
    tab().follow('one')
    await settled()
    expect(streams.all.map(({ url, init }) => [url, init])).toEqual([
      ['http://localhost:8000/bff/events', { withCredentials: true }],
    ])
  })

  it('is not there before there is a session', async () => {
    tab()
    await settled()
    expect(streams.all).toEqual([])
  })

  it('is not opened twice for one session', async () => {
    const { follow } = tab()
    follow('one')
    follow('one')
    await settled()
    expect(streams.all).toHaveLength(1)
  })

  it('closes when the session is over', async () => {
    const { follow } = tab()
    follow('one')
    await settled()
    follow('')
    expect([streams.all.length, streams.open().length]).toEqual([1, 0])
  })

  it('is another one for another session', async () => {
    const { follow } = tab()
    follow('one')
    await settled()
    follow('two')
    await settled()
    expect([streams.all.length, streams.open().length]).toEqual([2, 1])
  })

  it('is not opened when the lock comes too late', async () => {
    const late = {
      request: async (_name: string, _options: LockOptions, granted: LockGrantedCallback<Promise<void>>) => {
        await settled()
        await granted(null)
      },
    }
    const { follow } = tab({ locks: late as unknown as LockManager })
    follow('one')
    follow('')
    await settled()
    await settled()
    expect(streams.all).toEqual([])
  })

  it('is never opened without Web Locks', async () => {
    tab({ locks: undefined }).follow('one')
    await settled()
    expect(streams.all).toEqual([])
  })
})

describe('an event', () => {
  it.each([
    ['expiring', events.expiring, { name: 'expiring', data: events.expiring }],
    ['refreshed', events.refreshed, { name: 'refreshed', data: events.refreshed }],
    ['ended', events.ended, { name: 'ended', data: { reason: 'revoked' } }],
    ['ended', { reason: 'for a reason of tomorrow' }, { name: 'ended', data: { reason: 'ended' } }],
    ['ended', 'no JSON', { name: 'ended', data: { reason: 'ended' } }],
  ])('%s %j is heard', async (name, data, want) => {
    const { follow, heard } = tab()
    follow('one')
    await settled()
    streams.all[0]?.says(name, data)
    expect(heard).toEqual([want])
  })

  it.each([
    ['expiring', { idle_expires_in: '60', absolute_expires_in: 1 }],
    ['expiring', 'no JSON'],
    ['refreshed', { idle_expires_in: 60, absolute_expires_in: 1 }],
    ['greeting', { hello: 'world' }],
  ])('%s %j is not', async (name, data) => {
    const { follow, heard } = tab()
    follow('one')
    await settled()
    streams.all[0]?.says(name, data)
    expect(heard).toEqual([])
  })
})

describe('two tabs', () => {
  it('share one stream and hear the same', async () => {
    const [one, two] = [tab(), tab()]
    one.follow('same')
    two.follow('same')
    await settled()
    expect(streams.all).toHaveLength(1)
    streams.all[0]?.says('ended', events.ended)
    await settled()
    expect([one.heard, two.heard]).toEqual([
      [{ name: 'ended', data: { reason: 'revoked' } }],
      [{ name: 'ended', data: { reason: 'revoked' } }],
    ])
  })

  it('take over from each other', async () => {
    const [one, two] = [tab(), tab()]
    one.follow('same')
    two.follow('same')
    await settled()
    one.stop()
    await settled()
    expect([streams.all.length, streams.open().length]).toEqual([2, 1])
    streams.open()[0]?.says('expiring', events.expiring)
    expect([one.heard.length, two.heard.length]).toEqual([0, 1])
  })

  it('do not take over the stream of a session that has ended', async () => {
    const [one, two] = [tab(), tab()]
    one.follow('same')
    two.follow('same')
    await settled()
    streams.all[0]?.says('ended', events.ended)
    await settled()
    one.follow('')
    await settled()
    expect([two.heard.length, streams.all.length]).toEqual([1, 1])
  })

  it('do not mix up two sessions', async () => {
    const [one, two] = [tab(), tab()]
    one.follow('old')
    two.follow('new')
    await settled()
    streams.all[0]?.says('ended', events.ended)
    await settled()
    expect([one.heard.length, two.heard.length]).toEqual([1, 0])
  })

  it('need no stream for a tab that has gone while it waited', async () => {
    const [one, two] = [tab(), tab()]
    one.follow('same')
    two.follow('same')
    await settled()
    two.stop()
    one.stop()
    await settled()
    expect([streams.all.length, streams.open().length]).toEqual([1, 0])
  })
})

describe('a stream that breaks', () => {
  /** The waits in milliseconds, up to when `streams` have been opened. */
  async function waits(count: number, fate: () => void, random = 0.5): Promise<number[]> {
    vi.useFakeTimers()
    tab({ random: () => random }).follow('one')
    await vi.advanceTimersByTimeAsync(0)
    const seen: number[] = []
    while (seen.length < count) {
      const [before, began] = [streams.all.length, performance.now()]
      fate()
      expect(streams.open()).toEqual([])
      while (streams.all.length === before) await vi.advanceTimersToNextTimerAsync()
      seen.push(performance.now() - began)
    }
    return seen
  }

  it('comes back later each time', async () => {
    expect(await waits(8, () => streams.all.at(-1)?.breaks())).toEqual([
      5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 160_000, 160_000,
    ])
  })

  it.each([
    [0, 2_000],
    [1, 8_000],
  ])('comes back at an instant of its own (%d: %d ms)', async (random, want) => {
    expect(await waits(1, () => streams.all.at(-1)?.breaks(), random)).toEqual([want])
  })

  it('comes back soon when it had worked for long', async () => {
    const fate = (): void => {
      streams.all.at(-1)?.opens()
      vi.advanceTimersByTime(30_000)
      streams.all.at(-1)?.breaks()
    }
    expect(await waits(3, fate)).toEqual([35_000, 35_000, 35_000])
  })

  it('comes back later each time when it opens and breaks at once', async () => {
    const fate = (): void => {
      streams.all.at(-1)?.opens()
      streams.all.at(-1)?.breaks()
    }
    expect(await waits(3, fate)).toEqual([5_000, 10_000, 20_000])
  })

  it('does not come back once the session is over', async () => {
    vi.useFakeTimers()
    const { follow, refused } = tab()
    follow('one')
    await vi.advanceTimersByTimeAsync(0)
    streams.all[0]?.breaks()
    follow('')
    await vi.advanceTimersByTimeAsync(3_600_000)
    expect([streams.all.length, refused.mock.calls.length]).toEqual([1, 0])
  })

  it('is a reason to ask only when the server refused it', async () => {
    const { follow, refused } = tab()
    follow('one')
    await settled()
    streams.all[0]?.isRefused()
    expect(refused).toHaveBeenCalledOnce()
  })
})
