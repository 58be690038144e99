import { createContext, use, useEffect, useLayoutEffect, useMemo, useState } from 'react'

import { recall, remember } from './storage.js'

export const THEMES = ['system', 'light', 'dark']

const ThemeContext = createContext(null)

// {theme, setTheme, look}: what was chosen, and what it comes to, 'light' or 'dark'.
export const useTheme = () => use(ThemeContext)

const dark = () => matchMedia('(prefers-color-scheme: dark)')

export function ThemeProvider({ children }) {
  const [theme, setTheme] = useState(() => {
    const chosen = recall('theme')
    return THEMES.includes(chosen) ? chosen : 'system'
  })
  const [system, setSystem] = useState(() => (dark().matches ? 'dark' : 'light'))

  useEffect(() => {
    const query = dark()
    const follow = () => setSystem(query.matches ? 'dark' : 'light')
    query.addEventListener('change', follow)
    return () => query.removeEventListener('change', follow)
  }, [])

  const look = theme === 'system' ? system : theme
  // In time for the effects of the charts, which ask the style sheet for their colours.
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = theme
  }, [theme])

  const value = useMemo(() => {
    function choose(chosen) {
      remember('theme', chosen)
      setTheme(chosen)
    }
    return { theme, setTheme: choose, look }
  }, [theme, look])
  return <ThemeContext value={value}>{children}</ThemeContext>
}
