import { useEffect } from 'react'

import { formatCount, shares } from './counter.js'
import { useCounter } from './useCounter.js'

function hint({ count, status, visited }) {
  if (status === 'reconnecting' && count === null) return 'Waiting for the service to answer.'
  if (status === 'reconnecting') {
    return 'The last number we know of. It will move on as soon as the service answers.'
  }
  if (visited) return 'Your visit is one of them. All servers count into the same number.'
  return 'All servers count into the same number.'
}

export function App({ client }) {
  const [state, countAgain] = useCounter(client)
  const { count, counting, nodes, release, servedBy, status } = state

  useEffect(() => {
    document.title = count === null ? 'counterapp' : `${formatCount(count)} · counterapp`
  }, [count])

  return (
    <div className="page">
      <header className="top">
        <p className="brand">
          <img src="/favicon.svg" alt="" width="28" height="28" />
          counterapp
        </p>
        <p className={`status status-${status}`} role="status">
          <span className="dot" aria-hidden="true" />
          <span data-testid="status">{status}</span>
        </p>
      </header>

      <main>
        <section className="card hero" aria-labelledby="hits">
          <h1 id="hits">Hits counted so far</h1>
          <p className="count" data-stale={status === 'reconnecting'}>
            {/* A new element a count, so that its animation starts again. */}
            <span key={count} data-testid="count" data-value={count ?? undefined}>
              {formatCount(count)}
            </span>
          </p>
          <p className="hint">{hint(state)}</p>
          <button
            type="button"
            data-testid="hit-button"
            aria-disabled={counting}
            onClick={countAgain}
          >
            {counting ? 'Counting…' : 'Count again'}
          </button>
          <p className="visually-hidden" aria-live="polite">
            {state.announcement}
          </p>
        </section>

        <section className="card facts" aria-label="Who answered">
          <dl>
            <div>
              <dt>Answered by</dt>
              <dd data-testid="served-by">{servedBy ?? '–'}</dd>
            </div>
            <div>
              <dt>Release</dt>
              <dd data-testid="release">{release ?? '–'}</dd>
            </div>
          </dl>
        </section>

        <NodeShares nodes={nodes} servedBy={servedBy} />
      </main>

      <footer>
        <p>A hit is confirmed once most database members have it in their journal.</p>
      </footer>
    </div>
  )
}

function NodeShares({ nodes, servedBy }) {
  const rows = shares(nodes)
  if (rows.length === 0) return null
  return (
    <section className="card" aria-labelledby="nodes">
      <h2 id="nodes">Hits by server</h2>
      <ul className="nodes">
        {rows.map(({ node, count, share }) => (
          <li key={node} aria-current={node === servedBy ? 'true' : undefined}>
            <span className="node">{node}</span>
            <span className="number">{formatCount(count)}</span>
            <svg className="bar" aria-hidden="true" viewBox="0 0 100 1" preserveAspectRatio="none">
              <rect className="track" width="100" height="1" />
              <rect className="fill" width={Math.max(1, share * 100)} height="1" />
            </svg>
          </li>
        ))}
      </ul>
    </section>
  )
}
