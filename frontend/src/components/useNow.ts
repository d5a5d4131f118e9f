import { onScopeDispose, ref, type Ref } from 'vue'

/** The time in milliseconds, moving on each second while a component shows it. */
export function useNow(): Ref<number> {
  const now = ref(Date.now())
  const timer = setInterval(() => (now.value = Date.now()), 1000)
  onScopeDispose(() => {
    clearInterval(timer)
  })
  return now
}

/** 3725 seconds as 1:02:05. */
export function clock(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  const shown = parts[0] === 0 ? parts.slice(1) : parts
  return shown.map((n, i) => (i === 0 ? n.toString() : n.toString().padStart(2, '0'))).join(':')
}
