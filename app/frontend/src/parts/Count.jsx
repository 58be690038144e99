import { useText } from '../i18n/text.jsx'
import { isStale } from '../live/state.js'

function hint(state) {
  if (state.status === 'absent') return 'count.absent'
  if (isStale(state)) return 'count.stale'
  if (state.value === null) return 'count.waiting'
  return state.visited ? 'count.visited' : 'count.all'
}

// The number itself, how fresh it is, and the button that counts one more. `level` is that of the
// heading: 'h1' or 'h2'.
export function Count({ title, level: Heading, state, hit }) {
  const { t, number, time } = useText()
  const { value, status, counting, visited } = state
  const stale = isStale(state)
  return (
    <section className="card hero" aria-labelledby="hits">
      <p className={`status status-${status}`} role="status">
        <span className="dot" aria-hidden="true" />
        <span data-testid="status" data-status={status}>
          {t(`status.${status}`)}
        </span>
      </p>
      <Heading id="hits">{title}</Heading>
      <p className="count" data-stale={stale}>
        {/* A new element a count, so that its animation starts again. */}
        <span key={value} data-testid="count" data-value={value ?? undefined}>
          {number(value)}
        </span>
      </p>
      <p className="hint">{t(hint(state), { time: stale ? time(state.seen) : '' })}</p>
      <button type="button" data-testid="hit-button" aria-disabled={counting} onClick={hit}>
        {t(counting ? 'count.counting' : visited ? 'count.again' : 'count.one')}
      </button>
      <Notice notice={state.notice} />
    </section>
  )
}

// What became of the hit: for screen readers, and for all if it came to nothing.
function Notice({ notice }) {
  const { t, number } = useText()
  const failed = notice !== null && notice.kind !== 'counted'
  const values = notice && { ...notice, value: number(notice.value ?? null) }
  return (
    <p className={failed ? 'problem' : 'visually-hidden'} aria-live="polite">
      {notice && t(`count.${notice.kind}`, values)}
    </p>
  )
}
