/** For tests: streams that the test speaks on, and locks of a browser with several tabs. */

export class FakeStream extends EventTarget {
  static readonly CLOSED = 2
  readonly CLOSED = 2
  readyState = 0

  constructor(
    readonly url: string,
    readonly init: EventSourceInit | undefined,
  ) {
    super()
  }

  opens(): void {
    this.readyState = 1
    this.dispatchEvent(new Event('open'))
  }

  says(name: string, data: unknown): void {
    this.dispatchEvent(new MessageEvent(name, { data: typeof data === 'string' ? data : JSON.stringify(data) }))
  }

  /** As by 204 or an error answer: the browser gives up. */
  isRefused(): void {
    this.readyState = 2
    this.dispatchEvent(new Event('error'))
  }

  /** As by a network that fails: the browser would come back by itself. */
  breaks(): void {
    this.readyState = 0
    this.dispatchEvent(new Event('error'))
  }

  close(): void {
    this.readyState = 2
  }
}

/** A server's streams: every one that was opened, and those that still are. */
export function fakeStreams() {
  const all: FakeStream[] = []
  const Stream = function (url: string | URL, init?: EventSourceInit) {
    const stream = new FakeStream(url.toString(), init)
    all.push(stream)
    return stream
  }
  return {
    all,
    open: () => all.filter(({ readyState }) => readyState < 2),
    EventSource: Stream as unknown as typeof globalThis.EventSource,
  }
}

/** One lock at a time for each name, in the order they were asked for. */
export class FakeLocks {
  readonly #queues = new Map<string, Promise<unknown>>()

  request(name: string, { signal }: LockOptions, work: () => Promise<unknown>): Promise<unknown> {
    const aborted = () => new DOMException('aborted', 'AbortError')
    const before = this.#queues.get(name) ?? Promise.resolve()
    let begun = false
    const mine = before.then(() => {
      if (signal?.aborted) throw aborted()
      begun = true
      return work()
    })
    this.#queues.set(
      name,
      mine.catch(() => undefined),
    )
    return Promise.race([
      mine,
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => {
          if (!begun) reject(aborted())
        })
      }),
    ])
  }

  get manager(): LockManager {
    return this as unknown as LockManager
  }
}
