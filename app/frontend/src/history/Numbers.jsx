import { useText } from '../i18n/text.jsx'

// The numbers of the charts, newest first.
export function Numbers({ points, labels }) {
  const { t, number } = useText()
  const rows = points.map((point, index) => ({ ...point, label: labels[index] })).reverse()
  return (
    <details className="numbers">
      <summary>{t('history.numbers')}</summary>
      <div className="scroll" role="region" aria-label={t('history.numbers')} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{t('history.when')}</th>
              <th scope="col">{t('history.change')}</th>
              <th scope="col">{t('history.value')}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ time, label, change, value }) => (
              <tr key={time}>
                <th scope="row">{label}</th>
                <td>{number(change)}</td>
                <td>{number(value)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  )
}
