import { History } from '../history/History.jsx'
import { useText } from '../i18n/text.jsx'
import { useCounter } from '../live/useCounter.js'
import { Count } from '../parts/Count.jsx'
import { About, Facts, Rates } from '../parts/Facts.jsx'
import { NewestHits } from '../parts/NewestHits.jsx'
import { NodeShares } from '../parts/NodeShares.jsx'
import { Use } from '../parts/Use.jsx'
import { useTitle } from '../parts/useTitle.js'

// One counter of whomever.
export function Counter({ namespace, name, sources }) {
  const { t } = useText()
  const source = sources.counter({ namespace, name })
  const [state, hit] = useCounter(source)
  const { details } = state
  const key = `${namespace}/${name}`
  useTitle(key)

  return (
    <>
      <Count title={t('count.hits', { key })} state={state} hit={hit} />
      {details && (
        <>
          <div className="columns">
            <Facts state={state} />
            <Rates rates={details.rates} />
          </div>
          <History source={source} state={state} />
          <div className="columns">
            <NewestHits source={source} state={state} />
            <NodeShares nodes={details.nodes} servedBy={state.servedBy} />
          </div>
          {details.created && <About details={details} />}
          <Use counter={source.key} />
        </>
      )}
    </>
  )
}
