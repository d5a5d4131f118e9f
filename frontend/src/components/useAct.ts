import { ref, shallowRef, type Ref, type ShallowRef } from 'vue'
import { BffError } from '../bff/client'

/** A button's work: one run at a time, and its failure kept to be shown. */
export function useAct(work: () => Promise<unknown>): {
  busy: Ref<boolean>
  error: ShallowRef<BffError | undefined>
  run: () => Promise<void>
} {
  const busy = ref(false)
  const error = shallowRef<BffError>()

  async function run(): Promise<void> {
    if (busy.value) return
    busy.value = true
    error.value = undefined
    try {
      await work()
    } catch (cause) {
      if (!(cause instanceof BffError)) throw cause
      error.value = cause
    } finally {
      busy.value = false
    }
  }

  return { busy, error, run }
}
