import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { useKeys } from '../keys/keys.jsx'
import { LEAST } from '../keys/list.js'
import { OwnedCounters } from '../keys/OwnedCounters.jsx'
import { Check, Field } from '../parts/Field.jsx'
import { focusFirstProblem } from '../parts/forms.js'
import { useTitle } from '../parts/useTitle.js'

// The counters of whoever has their admin keys.
export function Mine({ client }) {
  const { t } = useText()
  const { keys } = useKeys()
  useTitle(t('mine'))
  return (
    <>
      <h1>{t('mine')}</h1>
      {keys.map(({ admin, kept }) => (
        <OwnedCounters key={admin} client={client} admin={admin} kept={kept} />
      ))}
      <AddKey />
    </>
  )
}

function AddKey() {
  const { t, number } = useText()
  const { known, keep } = useKeys()
  const [admin, setAdmin] = useState('')
  const [wanted, setWanted] = useState(false)
  const [problem, setProblem] = useState(null)

  function submit(event) {
    event.preventDefault()
    const key = admin.trim()
    if (key.length < LEAST) {
      setProblem(t('mine.short', { least: number(LEAST) }))
      focusFirstProblem(event.target)
      return
    }
    known(key)
    setProblem(wanted && !keep(key, true) ? t('admin.unkept') : null)
    setAdmin('')
  }

  return (
    <form className="card" aria-labelledby="add-key" onSubmit={submit} noValidate>
      <h2 id="add-key">{t('mine.add')}</h2>
      <p className="hint">{t('mine.intro')}</p>
      <Field
        label={t('admin.key')}
        value={admin}
        onChange={(event) => setAdmin(event.target.value)}
        problem={problem}
      />
      <Check
        label={t('admin.keep')}
        checked={wanted}
        onChange={(event) => setWanted(event.target.checked)}
      />
      <button type="submit">{t('mine.go')}</button>
    </form>
  )
}
