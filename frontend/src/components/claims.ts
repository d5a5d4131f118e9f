import type { Claims } from '../bff/types'

/** What to call the user, from the best claim there is. */
export function displayName(user: Claims): string {
  const candidates = [user['name'], user['preferred_username'], user['email'], user.sub]
  return candidates.find((claim): claim is string => typeof claim === 'string' && claim !== '') ?? ''
}

/** A claim's value as text: lists by commas, anything deeper as JSON. */
export function claimText(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value) && value.every((v) => typeof v === 'string')) return value.join(', ')
  return JSON.stringify(value)
}
