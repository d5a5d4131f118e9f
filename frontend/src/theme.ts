/** Light or dark: the system's, until the user chooses. `public/theme.js` repeats the choice before the first paint. */
import { computed, onScopeDispose, ref, type ComputedRef } from 'vue'
import { remembered } from './storage'

export type Theme = 'light' | 'dark'

export function useTheme(win: Window = window): { theme: ComputedRef<Theme>; toggle: () => void } {
  const root = win.document.documentElement
  const store = remembered('genkan-theme', win)
  const dark = win.matchMedia('(prefers-color-scheme: dark)')
  const system = ref<Theme>(dark.matches ? 'dark' : 'light')
  const chosen = ref(root.dataset['theme'] as Theme | undefined)
  const follow = (event: MediaQueryListEvent): void => {
    system.value = event.matches ? 'dark' : 'light'
  }
  dark.addEventListener('change', follow)
  onScopeDispose(() => dark.removeEventListener('change', follow))
  const theme = computed(() => chosen.value ?? system.value)

  function toggle(): void {
    chosen.value = theme.value === 'dark' ? 'light' : 'dark'
    root.dataset['theme'] = chosen.value
    store.write(chosen.value)
  }

  return { theme, toggle }
}
