/** The user's own sessions, in this browser and in others. Each call fails with a BffError. */
import { BffError, type Client } from './client'
import { isEndedAnswer, isSessionList, type ListedSession } from './types'

/** Those that live, the newest first. */
export async function listSessions(client: Client): Promise<ListedSession[]> {
  const { data } = await client.get(`${client.prefix}/sessions`)
  if (!isSessionList(data)) throw new BffError({ status: 200, code: 'not_json' })
  return data.sessions
}

/** Ends one. That it was gone already is as good. */
export async function endSession(client: Client, id: string): Promise<void> {
  try {
    await client.call(`${client.prefix}/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' })
  } catch (error) {
    if (!(error instanceof BffError && error.status === 404 && error.code === 'not_found')) throw error
  }
}

/** Ends all but this browser's, and says how many there were. */
export async function endOtherSessions(client: Client): Promise<number> {
  const { data } = await client.call(`${client.prefix}/sessions?others=true`, { method: 'DELETE' })
  if (!isEndedAnswer(data)) throw new BffError({ status: 200, code: 'not_json' })
  return data.ended
}
