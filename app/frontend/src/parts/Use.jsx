import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { CopyField } from './CopyField.jsx'
import { Check, Field } from './Field.jsx'
import { LiveBadge } from './LiveBadge.jsx'
import {
  BADGE_STYLES,
  badgeUrl,
  markdown,
  NUMBER_FORMS,
  PLAIN,
  pageSnippet,
  pageUrl,
  shellSnippet,
} from './snippets.js'

// How others use the counter: snippets and a badge to copy. The badge shows `value`, as it is now.
export function Use({ counter, value }) {
  const { t } = useText()
  const [badge, setBadge] = useState(PLAIN)
  const change = (part) => (event) => setBadge({ ...badge, [part]: event.target.value })
  const url = badgeUrl(counter, badge)
  // To look at it here is no view of what is counted.
  const shown = badgeUrl(counter, { ...badge, counts: false })

  return (
    <section className="card" aria-labelledby="use">
      <h2 id="use">{t('use')}</h2>
      <CopyField label={t('use.link')} text={pageUrl(location.origin, counter)} />
      <CopyField label={t('use.page')} text={pageSnippet(location.origin, counter)} />
      <CopyField label={t('use.shell')} text={shellSnippet(location.origin, counter)} />
      <h3>{t('use.badge')}</h3>
      <p>
        <LiveBadge
          url={shown}
          value={value}
          alt={t('use.badge.alt', { key: `${counter.namespace}/${counter.name}` })}
        />
      </p>
      <div className="fields">
        <Field label={t('use.badge.label')} value={badge.label} onChange={change('label')} />
        <Field
          label={t('use.badge.colour')}
          type="color"
          value={badge.color}
          onChange={change('color')}
        />
        <Field as="select" label={t('use.badge.style')} value={badge.style} onChange={change('style')}>
          {BADGE_STYLES.map((style) => (
            <option key={style}>{style}</option>
          ))}
        </Field>
        <Field
          as="select"
          label={t('use.badge.numbers')}
          value={badge.numbers}
          onChange={change('numbers')}
        >
          {Object.keys(NUMBER_FORMS).map((form) => (
            <option key={form}>{form}</option>
          ))}
        </Field>
      </div>
      <Check
        label={t('use.badge.counts')}
        checked={badge.counts}
        onChange={({ target }) => setBadge({ ...badge, counts: target.checked })}
      />
      <CopyField
        label={t('use.badge.markdown')}
        text={markdown(location.origin, badge.label, url)}
        hint={badge.counts && t('use.badge.counts.hint')}
      />
    </section>
  )
}
