import { useMemo, useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { useTheme } from '../theme.jsx'
import { Chart } from './Chart.jsx'
import { Numbers } from './Numbers.jsx'
import { busiest, follow, RESOLUTIONS, total } from './series.js'
import { useHistory } from './useHistory.js'

// How fast a counter grows, and how it grew: as charts, and as a table of the same numbers.
export function History({ source, value, live }) {
  const { t, number, moment } = useText()
  const { look } = useTheme()
  const [resolution, setResolution] = useState('minute')
  const points = useHistory(source, resolution, live)
  const shown = useMemo(
    () => points && follow(points, resolution, value),
    [points, resolution, value],
  )
  const labels = useMemo(
    () => shown?.map(({ time }) => moment(time, resolution)),
    [shown, moment, resolution],
  )

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
      {shown?.length ? (
        <>
          <h3>{t(`history.rate.${resolution}`)}</h3>
          <Chart
            kind="bar"
            look={look}
            format={number}
            labels={labels}
            values={shown.map(({ change }) => change)}
            summary={t('history.rate.summary', {
              total: number(total(shown)),
              most: number(busiest(shown).change),
              when: moment(busiest(shown).time, resolution),
            })}
          />
          <h3>{t('history.value')}</h3>
          <Chart
            kind="line"
            look={look}
            format={number}
            labels={labels}
            values={shown.map((point) => point.value)}
            summary={t('history.value.summary', {
              from: number(shown[0].value),
              to: number(shown.at(-1).value),
              since: labels[0],
            })}
          />
          <Numbers points={shown} labels={labels} />
        </>
      ) : (
        <p className="hint">{t(points ? 'history.none' : 'loading')}</p>
      )}
    </section>
  )
}
