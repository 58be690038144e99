import { useText } from '../i18n/text.jsx'
import { SHARED } from '../live/sources.js'
import { CopyField } from './CopyField.jsx'
import { LiveBadge } from './LiveBadge.jsx'
import { badgeUrl, markdown, PLAIN, simplestBadge } from './snippets.js'

// Where a name of one's own goes: it is a counter that nobody has to make first.
const YOURS = { namespace: 'my-site', name: 'my-page' }

// What this is, for who has never been here: in a sentence, by an example, and at work.
export function Intro({ value }) {
  const { t } = useText()
  return (
    <section className="card intro" aria-labelledby="intro">
      <h1 id="intro">{t('intro')}</h1>
      <p>{t('intro.what')}</p>
      <CopyField
        label={t('intro.example')}
        text={markdown(location.origin, PLAIN.label, simplestBadge(YOURS))}
        hint={t('intro.hint')}
      />
      <p className="row middle">
        <LiveBadge
          url={badgeUrl(SHARED, PLAIN)}
          value={value}
          alt={t('use.badge.alt', { key: t('nav.home.counter') })}
        />
        <span className="hint">{t('intro.badge')}</span>
      </p>
      <p className="row">
        <a className="button" href="#/new">
          {t('make')}
        </a>
        <a className="button second" href="/api/v1/openapi.json">
          {t('intro.api')}
        </a>
      </p>
    </section>
  )
}
