/**
 * Two languages and no plural rules need no library: a typed table, a few lines, and
 * the compiler refuses a key that one language lacks.
 */
import { inject, readonly, ref, watchEffect, type App, type InjectionKey } from 'vue'
import { remembered } from '../storage'
import { messages, type Locale, type MessageKey } from './messages'

export type I18n = ReturnType<typeof createI18n>

const key: InjectionKey<I18n> = Symbol('i18n')

/** Longest first, in seconds. Less than a minute ago is now. */
const units = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const

export function createI18n(win: Window = window) {
  const store = remembered('genkan-locale', win)
  const locale = ref<Locale>(choose(store.read(), win.navigator.languages))

  function t(key: MessageKey, values: Record<string, string | number> = {}): string {
    return messages[locale.value][key].replace(/\{(\w+)\}/g, (whole, name: string) => values[name]?.toString() ?? whole)
  }

  function use(next: Locale): void {
    locale.value = next
    store.write(next)
  }

  function dateTime(iso: string): string {
    const at = new Date(iso)
    if (Number.isNaN(at.getTime())) return iso
    return new Intl.DateTimeFormat(locale.value, { dateStyle: 'medium', timeStyle: 'medium' }).format(at)
  }

  /** How long ago that was, in words. What a wrong clock puts into the future is now. */
  function ago(iso: string, now: number): string {
    const at = Date.parse(iso)
    if (Number.isNaN(at)) return ''
    const seconds = Math.max(0, (now - at) / 1000)
    const [unit, length] = units.find(([, length]) => seconds >= length) ?? (['second', Infinity] as const)
    return new Intl.RelativeTimeFormat(locale.value, { numeric: 'auto' }).format(-Math.trunc(seconds / length), unit)
  }

  /** A problem code in words, when we have words for it. */
  function words(code: string): string | undefined {
    const found = `code.${code}`
    return isKey(found) ? t(found) : undefined
  }

  const i18n = {
    locale: readonly(locale),
    t,
    use,
    dateTime,
    ago,
    words,
    install(app: App): void {
      app.provide(key, i18n)
      watchEffect(() => {
        win.document.documentElement.lang = locale.value
      })
    },
  }
  return i18n
}

export function useI18n(): I18n {
  const i18n = inject(key)
  if (!i18n) throw new Error('useI18n: no i18n is installed')
  return i18n
}

/** What the user chose before, else the first of the browser's languages that we speak. */
function choose(before: string | null, languages: readonly string[]): Locale {
  for (const tag of [before ?? '', ...languages]) {
    const language = tag.slice(0, 2).toLowerCase()
    if (language === 'en' || language === 'ja') return language
  }
  return 'en'
}

function isKey(text: string): text is MessageKey {
  return Object.hasOwn(messages.en, text)
}
