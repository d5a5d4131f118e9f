/**
 * What a tab may do once. The note lasts over page loads, in sessionStorage, and says
 * nothing of anybody.
 */
export interface Once {
  /** True the first time; false after that, and always where nothing can be stored. */
  take: () => boolean
  /** Allows it once more. */
  reset: () => void
}

export function createOnce(win: Window, name: string): Once {
  return {
    take(): boolean {
      try {
        if (win.sessionStorage.getItem(name) !== null) return false
        win.sessionStorage.setItem(name, '1')
        return true
      } catch {
        return false // storage is blocked or full
      }
    },
    reset(): void {
      try {
        win.sessionStorage.removeItem(name)
      } catch {
        // then there was nothing to remove
      }
    },
  }
}
