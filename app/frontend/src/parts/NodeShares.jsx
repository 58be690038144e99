import { useText } from '../i18n/text.jsx'
import { shares } from './shares.js'

export function NodeShares({ nodes, servedBy }) {
  const { t, number } = useText()
  const rows = shares(nodes)
  if (rows.length === 0) return null
  return (
    <section className="card" aria-labelledby="nodes">
      <h2 id="nodes">{t('nodes')}</h2>
      <ul className="nodes">
        {rows.map(({ node, count, share }) => (
          <li key={node} aria-current={node === servedBy ? 'true' : undefined}>
            <span className="node">{node}</span>
            <span className="number">{number(count)}</span>
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
