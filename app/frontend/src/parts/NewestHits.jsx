import { useText } from '../i18n/text.jsx'

// The hits as they arrive. Not announced: on a busy counter nobody could listen to that.
export function NewestHits({ hits }) {
  const { t, number, time } = useText()
  return (
    <section className="card" aria-labelledby="newest">
      <h2 id="newest">{t('newest')}</h2>
      {hits.length === 0 ? (
        <p className="hint">{t('newest.none')}</p>
      ) : (
        <ol className="newest" data-testid="newest">
          {hits.map(({ id, value, change, node, at }) => (
            <li key={id}>
              <time dateTime={new Date(at).toISOString()}>{time(at)}</time>
              <span className="node">{t('newest.by', { node })}</span>
              {change !== null && <span className="change">{signed(change, number)}</span>}
              <span className="number">{number(value)}</span>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

const signed = (change, number) => (change > 0 ? `+${number(change)}` : number(change))
