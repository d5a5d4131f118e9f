/** One remembered choice of the user. Where storage is blocked, it is forgotten. */
export function remembered(name: string, win: Window = window) {
  return {
    read(): string | null {
      try {
        return win.localStorage.getItem(name)
      } catch {
        return null
      }
    },
    write(value: string): void {
      try {
        win.localStorage.setItem(name, value)
      } catch {
        // the choice lasts as long as the page
      }
    },
  }
}
