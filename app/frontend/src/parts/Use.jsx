import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { CopyField } from './CopyField.jsx'
import { Field } from './Field.jsx'
import { BADGE_STYLES, badgeUrl, markdown, pageSnippet, shellSnippet } from './snippets.js'

// How others use the counter: snippets and a badge to copy.
export function Use({ counter }) {
  const { t } = useText()
  const [badge, setBadge] = useState({ label: 'hits', color: '#0f766e', style: 'flat' })
  const change = (part) => (event) => setBadge({ ...badge, [part]: event.target.value })
  const url = badgeUrl(counter, badge)

  return (
    <section className="card" aria-labelledby="use">
      <h2 id="use">{t('use')}</h2>
      <CopyField label={t('use.page')} text={pageSnippet(location.origin, counter)} />
      <CopyField label={t('use.shell')} text={shellSnippet(location.origin, counter)} />
      <h3>{t('use.badge')}</h3>
      <p>
        <img
          className="badge"
          src={url}
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
      </div>
      <CopyField label={t('use.badge.markdown')} text={markdown(location.origin, badge.label, url)} />
    </section>
  )
}
