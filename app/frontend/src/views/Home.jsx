import { History } from '../history/History.jsx'
import { useText } from '../i18n/text.jsx'
import { useCounter } from '../live/useCounter.js'
import { Count } from '../parts/Count.jsx'
import { Details } from '../parts/Details.jsx'
import { Rates } from '../parts/Facts.jsx'
import { Intro } from '../parts/Intro.jsx'
import { NewestHits } from '../parts/NewestHits.jsx'
import { OpenCounter } from '../parts/OpenCounter.jsx'
import { useTitle } from '../parts/useTitle.js'

// What the service is, with the counter that all visits share as its example.
export function Home({ sources }) {
  const { t, number } = useText()
  const source = sources.shared
  const [state, hit] = useCounter(source)
  const { value, details } = state
  useTitle(value === null ? t('intro') : number(value))

  return (
    <>
      <Intro value={value} />
      <Count title={t('count.shared')} level="h2" state={state} hit={hit} />
      <Rates rates={details?.rates} />
      <History source={source} state={state} />
      <div className="columns">
        <NewestHits source={source} state={state} />
        <OpenCounter />
      </div>
      <Details state={state} />
    </>
  )
}
