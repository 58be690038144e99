import { useText } from '../i18n/text.jsx'

// The numbers of the chart since the counter was made, newest first.
export function Numbers({ points, resolution }) {
  const { t, number, signed, period } = useText()
  const set = points.some((point) => point.set !== 0)
  return (
    <details className="numbers">
      <summary>{t('history.numbers')}</summary>
      <div className="scroll" role="region" aria-label={t('history.numbers')} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('history.when')}</th>
              <th scope="col">{t('history.change')}</th>
              {set && <th scope="col">{t('history.set')}</th>}
              <th scope="col">{t('history.value')}</th>
            </tr>
          </thead>
          <tbody>
            {points.toReversed().map((point) => (
              <tr key={point.time}>
                <th scope="row">{period(point.time, resolution)}</th>
                <td>{signed(point.change)}</td>
                {set && <td>{point.set === 0 ? '' : signed(point.set)}</td>}
                <td>{number(point.value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  )
}
