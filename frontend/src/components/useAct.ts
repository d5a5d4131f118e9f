import { ref, shallowRef, type Ref, type ShallowRef } from 'vue'
import { BffError } from '../bff/client'

/** A button's work: one run at a time, and its failure kept to be shown. */
export function useAct<Details extends unknown[]>(
  work: (...details: Details) => Promise<unknown>,
): {
  busy: Ref<boolean>
  error: ShallowRef<BffError | undefined>
  run: (...details: Details) => Promise<void>
} {
  const busy = ref(false)
  const error = shallowRef<BffError>()

  async function run(...details: Details): Promise<void> {
    if (busy.value) return
    busy.value = true
    error.value = undefined
    try {
      await work(...details)
    } catch (cause) {
      if (!(cause instanceof BffError)) throw cause
      error.value = cause
    } finally {
      busy.value = false
    }
  }

  return { busy, error, run }
}
