import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { Field } from '../parts/Field.jsx'
import { explain, focusFirstProblem } from '../parts/forms.js'

function download(blob, name) {
  const url = URL.createObjectURL(blob)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // Not at once: some browsers begin to read only after this.
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

export function Export({ client }) {
  const { t } = useText()
  const [admin, setAdmin] = useState('')
  const [format, setFormat] = useState('csv')
  const [state, setState] = useState({})

  async function submit(event) {
    event.preventDefault()
    if (state.busy) return
    if (admin.trim() === '') {
      setState({ needed: true })
      focusFirstProblem(event.target)
      return
    }
    setState({ busy: true })
    try {
      download(await client.exportCounts(format, admin.trim()), `counters.${format}`)
      setState({ done: true })
    } catch (error) {
      setState({ failure: explain(error, t) })
    }
  }

  return (
    <form className="card" aria-labelledby="export" onSubmit={submit} noValidate>
      <h2 id="export">{t('export')}</h2>
      <p className="hint">{t('export.intro')}</p>
      <Field
        label={t('admin.key')}
        value={admin}
        onChange={(event) => setAdmin(event.target.value)}
        problem={state.needed && t('export.needed')}
      />
      <Field
        as="select"
        label={t('export.format')}
        value={format}
        onChange={(event) => setFormat(event.target.value)}
      >
        <option value="csv">CSV</option>
        <option value="json">JSON</option>
      </Field>
      <button type="submit" aria-disabled={Boolean(state.busy)}>
        {t(state.busy ? 'export.going' : 'export.go')}
      </button>
      <p className="problem" role="alert">
        {state.failure}
      </p>
      <p role="status">{state.done && t('export.done')}</p>
    </form>
  )
}
