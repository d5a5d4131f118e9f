import { beforeEach, describe, expect, it } from 'vitest'
import { createApp, h, nextTick } from 'vue'
import { createI18n } from '.'
import { messages } from './messages'

function browser(languages: string[]): Window {
  return { navigator: { languages }, localStorage, document } as unknown as Window
}

function placeholders(text: string): string[] {
  return (text.match(/\{\w+\}/g) ?? []).toSorted()
}

beforeEach(() => localStorage.clear())

describe('the message tables', () => {
  it('have the same keys, each with words', () => {
    expect(Object.keys(messages.ja).toSorted()).toEqual(Object.keys(messages.en).toSorted())
    expect(
      Object.values(messages)
        .flatMap(Object.values<string>)
        .filter((text) => text.trim() === ''),
    ).toEqual([])
  })

  it.each(Object.keys(messages.en) as (keyof typeof messages.en)[])('%s has the same gaps to fill', (key) => {
    const gaps = new Set(placeholders(messages.en[key]))
    expect(new Set(placeholders(messages.ja[key]))).toEqual(gaps)
  })

  it('have Japanese in Japanese', () => {
    const japanese = /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u
    const plain = Object.entries(messages.ja).filter(([, text]) => !japanese.test(text))
    expect(plain.map(([key]) => key)).toEqual(['nav.api', 'home.at', 'problem.genkan'])
  })
})

describe('the language', () => {
  it.each([
    ['the browser’s first that we speak', null, ['fr-FR', 'ja-JP', 'en-US'], 'ja'],
    ['English when we speak none', null, ['fr-FR'], 'en'],
    ['what the user chose', 'ja', ['en-US'], 'ja'],
    ['not what somebody wrote into the storage', '<script>', ['ja'], 'ja'],
  ])('is %s', (_name, stored, languages, want) => {
    if (stored !== null) localStorage.setItem('genkan-locale', stored)
    expect(createI18n(browser(languages)).locale.value).toBe(want)
  })

  it('is the page’s too, and remembered', async () => {
    const i18n = createI18n(browser(['en']))
    createApp({ render: () => h('p') }).use(i18n)
    expect(document.documentElement.lang).toBe('en')
    i18n.use('ja')
    await nextTick()
    expect(document.documentElement.lang).toBe('ja')
    expect(localStorage.getItem('genkan-locale')).toBe('ja')
  })

  it('fills the gaps and leaves unknown ones', () => {
    const { t } = createI18n(browser(['en']))
    expect(t('home.hello', { name: '<b>Alice</b>' })).toBe('Welcome, <b>Alice</b>.')
    expect(t('home.hello')).toBe('Welcome, {name}.')
  })

  it.each([
    ['en', 0, 'now'],
    ['en', 59, 'now'],
    ['en', 60, '1 minute ago'],
    ['en', 3_599, '59 minutes ago'],
    ['en', 7_200, '2 hours ago'],
    ['en', 86_400, 'yesterday'],
    ['en', -600, 'now'],
    ['ja', 180, '3 分前'],
  ])('%s: %d seconds ago is “%s”', (language, seconds, want) => {
    const { ago } = createI18n(browser([language]))
    expect(ago('2026-11-21T09:00:00Z', Date.UTC(2026, 10, 21, 9) + seconds * 1000)).toBe(want)
  })

  it('has words for codes it knows only', () => {
    const { words } = createI18n(browser(['en']))
    expect([words('csrf'), words('toString'), words('never_heard_of')]).toEqual([
      'Not proven to come from this app',
      undefined,
      undefined,
    ])
  })
})
