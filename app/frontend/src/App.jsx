import { useEffect, useRef } from 'react'

import { useText } from './i18n/text.jsx'
import { FreshKeys } from './keys/FreshKeys.jsx'
import { Header } from './parts/Header.jsx'
import { parseRoute, useHash } from './route.js'
import { Counter } from './views/Counter.jsx'
import { Home } from './views/Home.jsx'
import { Import } from './views/Import.jsx'
import { Lost } from './views/Lost.jsx'
import { Make } from './views/Make.jsx'
import { Mine } from './views/Mine.jsx'

function View({ route, client, sources }) {
  switch (route.view) {
    case 'home':
      return <Home sources={sources} />
    case 'counter':
      return <Counter namespace={route.namespace} name={route.name} sources={sources} />
    case 'make':
      return <Make client={client} namespace={route.namespace} name={route.name} />
    case 'mine':
      return <Mine client={client} />
    case 'import':
      return <Import client={client} />
    default:
      return <Lost />
  }
}

export function App({ client, sources }) {
  const { t } = useText()
  const hash = useHash()
  const main = useRef(null)
  const shown = useRef(hash)

  // Who follows a link with the keyboard or a screen reader is taken to the new page's beginning.
  useEffect(() => {
    if (shown.current === hash) return
    shown.current = hash
    main.current.focus()
    scrollTo(0, 0)
  }, [hash])

  const route = parseRoute(hash)
  return (
    <div className="page">
      <button type="button" className="skip" onClick={() => main.current.focus()}>
        {t('skip')}
      </button>
      <Header view={route.view} />
      <main ref={main} tabIndex={-1}>
        <FreshKeys />
        <View key={hash} route={route} client={client} sources={sources} />
      </main>
      <footer>
        <p>{t('footer')}</p>
      </footer>
    </div>
  )
}
