import { useText } from '../i18n/text.jsx'
import { hasHistory } from '../live/state.js'
import { useEarlier } from '../live/useEarlier.js'
import { newest } from './newest.js'

// The hits as they arrive. Not announced: on a busy counter nobody could listen to that.
export function NewestHits({ source, state }) {
  const { t, number, signed, time, moment } = useText()
  const earlier = useEarlier(source, hasHistory(state))
  const rows = newest(state.hits, earlier)
  return (
    <section className="card" aria-labelledby="newest">
      <h2 id="newest">{t('newest')}</h2>
      {rows.length === 0 ? (
        <p className="hint">{t('newest.none')}</p>
      ) : (
        <ol className="newest" data-testid="newest">
          {rows.map(({ id, value, change, node, at, own, minute }) => (
            <li key={id} data-own={own}>
              <time dateTime={new Date(at).toISOString()}>
                {minute ? moment(at, 'minute') : time(at)}
              </time>
              <span className="node">
                {minute ? t('newest.minute') : t('newest.by', { node })}
                {own && <strong> {t('newest.own')}</strong>}
              </span>
              <span className="change">{change === null ? '' : signed(change)}</span>
              <span className="number">{number(value)}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}
