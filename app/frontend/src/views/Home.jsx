import { History } from '../history/History.jsx'
import { useText } from '../i18n/text.jsx'
import { useCounter } from '../live/useCounter.js'
import { Count } from '../parts/Count.jsx'
import { Facts, Rates } from '../parts/Facts.jsx'
import { NewestHits } from '../parts/NewestHits.jsx'
import { NodeShares } from '../parts/NodeShares.jsx'
import { OpenCounter } from '../parts/OpenCounter.jsx'
import { useTitle } from '../parts/useTitle.js'

// The counter that all visits to the service share.
export function Home({ sources }) {
  const { t, number } = useText()
  const source = sources.shared
  const [state, hit] = useCounter(source)
  const { value, details } = state
  useTitle(value === null ? t('nav.home') : number(value))

  return (
    <>
      <Count title={t('count.shared')} state={state} hit={hit} />
      <div className="columns">
        <Facts state={state} />
        <Rates rates={details?.rates} />
      </div>
      <History source={source} state={state} />
      <div className="columns">
        <NewestHits source={source} state={state} />
        <NodeShares nodes={details?.nodes ?? {}} servedBy={state.servedBy} />
      </div>
      <OpenCounter />
    </>
  )
}
