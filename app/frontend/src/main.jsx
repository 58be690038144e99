import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'

import { createClient } from './api/client.js'
import { App } from './App.jsx'
import { TextProvider } from './i18n/text.jsx'
import { KeysProvider } from './keys/keys.jsx'
import { createSources } from './live/sources.js'
import { adoptPath } from './route.js'
import './styles/theme.css'
import './styles/layout.css'
import './styles/counter.css'
import './styles/forms.css'
import { ThemeProvider } from './theme.jsx'

adoptPath()
const client = createClient()
const sources = createSources(client)

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <ThemeProvider>
      <TextProvider>
        <KeysProvider>
          <App client={client} sources={sources} />
        </KeysProvider>
      </TextProvider>
    </ThemeProvider>
  </StrictMode>,
)
