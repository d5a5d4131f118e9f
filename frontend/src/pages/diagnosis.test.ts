import { describe, expect, it } from 'vitest'
import { BffError, createClient } from '../bff/client'
import type { Obstacle } from '../router/guards'
import { diagnose } from './diagnosis'

const up = () => Promise.resolve(new Response())
const down = () => Promise.reject(new TypeError('Failed to fetch'))

function unreachable(status: number, code: string, requestId = ''): Obstacle {
  return { kind: 'unreachable', error: new BffError({ status, code, requestId }) }
}

describe('the diagnosis', () => {
  it.each([
    ['nothing wrong', undefined, 'http://localhost:5173/', up, 'problem.fine', undefined],
    [
      'other host name',
      { kind: 'loop' },
      'http://127.0.0.1:5173/a?b#c',
      up,
      'problem.loop',
      'http://localhost:5173/a?b#c',
    ],
    ['two sub-domains', { kind: 'loop' }, 'https://app.example.com/', up, 'problem.loop', undefined],
    ['same host name', { kind: 'loop' }, 'http://localhost:5173/a', up, 'problem.loop', undefined],
    ['nothing listens', unreachable(0, 'network'), 'http://localhost:5173/', down, 'problem.down', undefined],
    ['CORS refuses', unreachable(0, 'network'), 'http://localhost:5173/', up, 'problem.refused', undefined],
    [
      'CORS refuses the other spelling',
      unreachable(0, 'network'),
      'http://127.0.0.1:5173/',
      up,
      'problem.refused',
      'http://localhost:5173/',
    ],
    ['too slow', unreachable(0, 'timeout'), 'http://localhost:5173/', down, 'problem.timeout', undefined],
    [
      'a proxy without its target',
      unreachable(502, 'http'),
      'http://localhost:5173/',
      down,
      'problem.stranger',
      undefined,
    ],
    [
      'a page for every path',
      unreachable(200, 'not_json'),
      'http://localhost:5173/',
      down,
      'problem.stranger',
      undefined,
    ],
    [
      'Genkan’s own words',
      unreachable(503, 'store_unavailable', 'r1'),
      'http://localhost:5173/',
      down,
      'problem.title',
      undefined,
    ],
  ] as const)('%s', async (_name, obstacle, here, fetch, title, openInstead) => {
    const client = createClient({ baseUrl: 'http://localhost:8000', fetch })
    const found = await diagnose(obstacle, client, new URL(here))
    expect([found.title, found.openInstead]).toEqual([title, openInstead])
  })
})
