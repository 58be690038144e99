import { LANGUAGES, useText } from '../i18n/text.jsx'
import { THEMES, useTheme } from '../theme.jsx'

const LINKS = { home: '#/', make: '#/new', mine: '#/mine', import: '#/import' }

export function Header({ view }) {
  const { t, language, setLanguage } = useText()
  const { theme, setTheme } = useTheme()
  const themes = Object.fromEntries(THEMES.map((name) => [name, t(`theme.${name}`)]))
  return (
    <header className="top">
      <p className="brand">
        <img src="/favicon.svg" alt="" width="28" height="28" />
        counterapp
      </p>
      <nav aria-label={t('nav')}>
        <ul>
          {Object.entries(LINKS).map(([name, href]) => (
            <li key={name}>
              <a href={href} aria-current={view === name ? 'page' : undefined}>
                {t(`nav.${name}`)}
              </a>
            </li>
          ))}
        </ul>
      </nav>
      <div className="switches">
        <Switch label={t('language')} value={language} choices={LANGUAGES} choose={setLanguage} />
        <Switch label={t('theme')} value={theme} choices={themes} choose={setTheme} />
      </div>
    </header>
  )
}

function Switch({ label, value, choices, choose }) {
  return (
    <select aria-label={label} value={value} onChange={(event) => choose(event.target.value)}>
      {Object.entries(choices).map(([name, text]) => (
        <option key={name} value={name}>
          {text}
        </option>
      ))}
    </select>
  )
}
