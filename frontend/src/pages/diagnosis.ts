/** From what stands in the way to words: what happened, why, what to do. */
import type { BffError, Client } from '../bff/client'
import type { MessageKey } from '../i18n/messages'
import type { Obstacle } from '../router/guards'

export interface Diagnosis {
  title: MessageKey
  texts: MessageKey[]
  /** The same page at the host name that Genkan has. */
  openInstead?: string
  error?: BffError
}

/** Only network failures need another look, since the browser hides their cause. */
export async function diagnose(obstacle: Obstacle | undefined, client: Client, here: URL): Promise<Diagnosis> {
  if (obstacle?.kind === 'loop') return loop(new URL(client.base), here)
  if (obstacle?.kind !== 'unreachable') return { title: 'problem.fine', texts: ['problem.fineText'] }
  const { error } = obstacle
  if (error.code === 'timeout') return { title: 'problem.timeout', texts: ['problem.timeoutText'], error }
  if (error.code === 'network') return { ...(await unreadable(client, here)), error }
  if (error.unreachable)
    return { title: 'problem.stranger', texts: ['problem.strangerText', 'problem.strangerFix'], error }
  return { title: 'problem.title', texts: [], error }
}

function loop(bff: URL, here: URL): Diagnosis {
  const title = 'problem.loop'
  if (bff.hostname === here.hostname) return { title, texts: ['problem.loopText', 'problem.loopCause'] }
  if (!mixedLoopback(bff, here)) return { title, texts: ['problem.loopText', 'problem.loopSites', 'problem.loopCause'] }
  return { title, texts: ['problem.loopText', 'problem.loopHosts'], openInstead: atHostOf(bff, here) }
}

async function unreadable(client: Client, here: URL): Promise<Diagnosis> {
  if ((await client.probe()) === 'down')
    return { title: 'problem.down', texts: ['problem.downText', 'problem.downFix'] }
  const title = 'problem.refused'
  const bff = new URL(client.base)
  if (!mixedLoopback(bff, here)) return { title, texts: ['problem.refusedText', 'problem.refusedFix'] }
  return { title, texts: ['problem.refusedText', 'problem.loopHosts'], openInstead: atHostOf(bff, here) }
}

/** One machine by two names: the fix is to open the other name, not to allow this one. */
function mixedLoopback(a: URL, b: URL): boolean {
  const spellings = ['localhost', '127.0.0.1', '[::1]', '0.0.0.0']
  return a.hostname !== b.hostname && [a, b].every(({ hostname }) => spellings.includes(hostname))
}

function atHostOf(bff: URL, here: URL): string {
  const url = new URL(here)
  url.hostname = bff.hostname
  return url.href
}
