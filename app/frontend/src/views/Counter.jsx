import { History } from '../history/History.jsx'
import { useText } from '../i18n/text.jsx'
import { useCounter } from '../live/useCounter.js'
import { Count } from '../parts/Count.jsx'
import { Details } from '../parts/Details.jsx'
import { About, Rates } from '../parts/Facts.jsx'
import { NewestHits } from '../parts/NewestHits.jsx'
import { Use } from '../parts/Use.jsx'
import { useTitle } from '../parts/useTitle.js'
import { makeHref } from '../route.js'

// One counter of whomever.
export function Counter({ namespace, name, sources }) {
  const { t } = useText()
  const source = sources.counter({ namespace, name })
  const [state, hit] = useCounter(source)
  const { value, status, details } = state
  const key = `${namespace}/${name}`
  useTitle(key)

  return (
    <>
      <Count title={t('count.hits', { key })} level="h1" state={state} hit={hit} />
      {status === 'absent' && (
        <section className="card" aria-labelledby="absent">
          <h2 id="absent">{t('absent')}</h2>
          <p className="hint">{t('absent.hint')}</p>
          <p>
            <a className="button" href={makeHref(source.key)}>
              {t('absent.make')}
            </a>
          </p>
        </section>
      )}
      {details && (
        <>
          <Rates rates={details.rates} />
          <History source={source} state={state} />
          <NewestHits source={source} state={state} />
          <Use counter={source.key} value={value} />
          {details.created && <About details={details} />}
          <Details state={state} />
        </>
      )}
    </>
  )
}
