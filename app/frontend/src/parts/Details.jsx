import { useText } from '../i18n/text.jsx'
import { Fact } from './Facts.jsx'
import { shares } from './shares.js'

// What is of interest to those who run the service: who answered, and who has counted how much.
export function Details({ state }) {
  const { t, number } = useText()
  const { servedBy, release, details } = state
  const rows = shares(details?.nodes ?? {})
  return (
    <section className="card" aria-labelledby="details">
      <h2 id="details">{t('details')}</h2>
      <dl>
        <Fact term={t('details.node')} testId="served-by">
          {servedBy}
        </Fact>
        <Fact term={t('details.release')} testId="release">
          {release}
        </Fact>
      </dl>
      {rows.length > 0 && <h3>{t('details.nodes')}</h3>}
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
