import { createContext, use, useLayoutEffect, useMemo, useState } from 'react'

import { recall, remember } from '../storage.js'
import { en } from './en.js'
import { es } from './es.js'
import { formats } from './formats.js'

export const LANGUAGES = { en: 'English', es: 'Español' }
export const MESSAGES = { en, es }

const TextContext = createContext(null)

// {language, setLanguage, t} and what formats.js has
export const useText = () => use(TextContext)

// The language to begin with: the one chosen before, else the browser's first that there is.
export function firstLanguage(chosen, wanted) {
  const codes = [chosen, ...wanted.map((tag) => tag.toLowerCase().split('-')[0])]
  return codes.find((code) => Object.hasOwn(LANGUAGES, code ?? '')) ?? 'en'
}

// The language as the browser's region writes it: en-GB and en-US differ in dates, not in words.
export function regional(language, wanted) {
  return wanted.find((tag) => tag.toLowerCase().split('-')[0] === language) ?? language
}

export function translate(messages, key, values = {}) {
  if (!Object.hasOwn(messages, key)) throw new Error(`no text for ${key}`)
  return messages[key].replace(/\{(\w+)\}/g, (_, name) => values[name])
}

export function TextProvider({ children }) {
  const [language, setLanguage] = useState(() =>
    firstLanguage(recall('language'), navigator.languages),
  )
  useLayoutEffect(() => {
    document.documentElement.lang = language
  }, [language])

  const value = useMemo(() => {
    function choose(chosen) {
      remember('language', chosen)
      setLanguage(chosen)
    }
    return {
      language,
      setLanguage: choose,
      t: (key, values) => translate(MESSAGES[language], key, values),
      ...formats(regional(language, navigator.languages)),
    }
  }, [language])
  return <TextContext value={value}>{children}</TextContext>
}
