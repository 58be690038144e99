import { useText } from '../i18n/text.jsx'

const SPANS = ['minute', 'hour', 'day']

export function Rates({ rates }) {
  const { t, number } = useText()
  return (
    <section className="card" aria-labelledby="rates">
      <h2 id="rates">{t('rates')}</h2>
      <dl>
        {SPANS.map((span) => (
          <Fact key={span} term={t(`rates.${span}`)} testId={`rate-${span}`}>
            {rates && number(Math.round(rates[span]))}
          </Fact>
        ))}
      </dl>
    </section>
  )
}

export function About({ details }) {
  const { t, number, date } = useText()
  return (
    <section className="card" aria-labelledby="about">
      <h2 id="about">{t('about')}</h2>
      <dl>
        <Fact term={t('about.created')}>{date(details.created)}</Fact>
        <Fact term={t('about.updated')}>{date(details.updated)}</Fact>
        <Fact term={t('about.expires')}>
          {details.expires ? date(details.expires) : t('about.never')}
        </Fact>
        <Fact term={t('about.step')}>{number(details.step)}</Fact>
        <Fact term={t('about.owned')}>{t(`about.owned.${details.owned ? 'yes' : 'no'}`)}</Fact>
      </dl>
    </section>
  )
}

export function Fact({ term, testId, children }) {
  return (
    <div>
      <dt>{term}</dt>
      <dd data-testid={testId}>{children ?? '–'}</dd>
    </div>
  )
}
