import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { Confirm } from '../parts/Confirm.jsx'
import { CopyField } from '../parts/CopyField.jsx'
import { download } from '../parts/download.js'
import { Check } from '../parts/Field.jsx'
import { useKeys } from './keys.jsx'
import { atRisk, keyFile } from './list.js'

// The admin keys that were made here, above every view until each is dismissed.
export function FreshKeys() {
  const { keys } = useKeys()
  return keys.filter(({ fresh }) => fresh).map((key) => <FreshKey key={key.admin} entry={key} />)
}

function FreshKey({ entry }) {
  const { t } = useText()
  const { keep, saved, dismiss } = useKeys()
  const [asking, setAsking] = useState(false)
  const [failed, setFailed] = useState(false)
  const { admin, counters, kept } = entry

  function take() {
    download(new Blob([keyFile(location.origin, entry)], { type: 'text/plain' }), 'admin-key.txt')
    saved(admin)
  }

  return (
    <section className="card key" aria-label={t('admin.key')}>
      <h2>{t('admin.made')}</h2>
      {counters.length > 0 && <p className="names">{counters.join(', ')}</p>}
      <CopyField label={t('admin.key')} text={admin} hint={t('admin.once')} testId="admin-key" />
      <Check
        label={t('admin.keep')}
        checked={kept}
        onChange={({ target }) => setFailed(!keep(admin, target.checked))}
      />
      {failed && <p className="problem">{t('admin.unkept')}</p>}
      <p className="row">
        <button type="button" onClick={take}>
          {t('admin.download')}
        </button>
        <button
          type="button"
          className="second"
          onClick={() => (atRisk(entry) ? setAsking(true) : dismiss(admin))}
        >
          {t('admin.dismiss')}
        </button>
      </p>
      {asking && (
        <Confirm
          question={t('admin.dismiss.sure')}
          go={t('admin.dismiss.go')}
          confirm={() => dismiss(admin)}
          cancel={() => setAsking(false)}
        />
      )}
    </section>
  )
}
