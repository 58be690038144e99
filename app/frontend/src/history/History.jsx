import { lazy, Suspense, useEffect, useMemo, useRef, useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { hasHistory } from '../live/state.js'
import { useTheme } from '../theme.jsx'
import { Numbers } from './Numbers.jsx'
import { busiest, fillWindow, follow, RESOLUTIONS, total } from './series.js'
import { useHistory } from './useHistory.js'

function NoChart() {
  const { t } = useText()
  return <p className="hint">{t('history.undrawn')}</p>
}

// Most of the page's weight is what draws: the count is there before it.
const Chart = lazy(() =>
  import('./Chart.jsx').catch((error) => {
    console.info(`no chart: ${error.message}`)
    return { default: NoChart }
  }),
)

// How fast a counter grows, and how it grew: as a chart, and as a table of the same numbers.
export function History({ source, state }) {
  const { t } = useText()
  const [resolution, setResolution] = useState('minute')
  const { value, sets } = state
  const history = useHistory(source, resolution, hasHistory(state), sets)
  const points = useMemo(() => {
    // What was known before the count was set does not explain how it came to what it is now.
    const live = history?.sets === sets ? value : null
    return history && follow(history.points, resolution, live)
  }, [history, resolution, value, sets])

  return (
    <section className="card" aria-labelledby="history">
      <div className="bar-of-choices">
        <h2 id="history">{t('history')}</h2>
        <div className="choices" role="group" aria-label={t('history.by')}>
          {RESOLUTIONS.map((name) => (
            <button
              key={name}
              type="button"
              className="choice"
              aria-pressed={name === resolution}
              onClick={() => setResolution(name)}
            >
              {t(`history.${name}`)}
            </button>
          ))}
        </div>
      </div>
      {points?.length ? (
        <Drawn points={points} resolution={resolution} />
      ) : (
        <p className="plot hint">{t(points ? 'history.none' : 'loading')}</p>
      )}
    </section>
  )
}

function Drawn({ points, resolution }) {
  const { t, number, signed, moment, period } = useText()
  const { look } = useTheme()
  const whole = useMemo(() => fillWindow(points, resolution), [points, resolution])
  const labels = useMemo(
    () => whole.map(({ time }) => moment(time, resolution)),
    [whole, moment, resolution],
  )
  const latest = useRef(whole)
  useEffect(() => {
    latest.current = whole
  }, [whole])
  // Not made anew with each point, for the chart would be, too.
  const words = useMemo(() => {
    function tip(index) {
      const { time, change, value, set } = latest.current[index]
      return {
        title: period(time, resolution),
        change: t(`history.tip.${resolution}`, { change: signed(change) }),
        value: t('history.tip.value', { value: number(value) }),
        set: set === 0 ? null : t('history.tip.set', { set: signed(set) }),
      }
    }
    return { change: t(`history.added.${resolution}`), value: t('history.value'), tip }
  }, [t, number, signed, period, resolution])

  const most = busiest(points)
  const summary = t(`history.summary.${resolution}`, {
    total: number(total(points)),
    most: number(most.change),
    when: period(most.time, resolution),
    from: number(points[0].value),
    to: number(points.at(-1).value),
  })
  return (
    <>
      <Suspense fallback={<p className="plot hint">{t('loading')}</p>}>
        <Chart
          points={whole}
          labels={labels}
          words={words}
          summary={summary}
          look={look}
          format={number}
        />
      </Suspense>
      {points.some(({ set }) => set !== 0) && <p className="hint">{t('history.sets')}</p>}
      <Numbers points={points} resolution={resolution} />
    </>
  )
}
