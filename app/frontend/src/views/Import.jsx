import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { CopyField } from '../parts/CopyField.jsx'
import { Check, Field } from '../parts/Field.jsx'
import { explain, focusFirstProblem } from '../parts/forms.js'

// The name of a file may say anything; its first character does not lie.
const mediaType = (text) => (/^[[{]/.test(text.trimStart()) ? 'application/json' : 'text/csv')

export function Import({ client }) {
  const { t } = useText()
  const [file, setFile] = useState(null)
  const [pasted, setPasted] = useState('')
  const [admin, setAdmin] = useState('')
  const [replace, setReplace] = useState(false)
  const [state, setState] = useState({})

  async function submit(event) {
    event.preventDefault()
    if (state.busy) return
    const { target } = event
    const text = file ? await file.text() : pasted
    if (text.trim() === '') {
      setState({ empty: true })
      focusFirstProblem(target)
      return
    }
    setState({ busy: true })
    try {
      const options = { type: mediaType(text), replace, admin: admin.trim() }
      setState({ done: await client.importCounts(text, options) })
    } catch (error) {
      // A part may have been taken: the key that it was given is not told again.
      setState({ failure: explain(error, t), done: error.problem?.admin_key && error.problem })
    }
  }

  return (
    <form className="card" aria-labelledby="import" onSubmit={submit} noValidate>
      <h2 id="import">{t('import')}</h2>
      <p className="hint">{t('import.intro')}</p>
      <Field
        label={t('import.file')}
        type="file"
        accept=".csv,.json,text/csv,application/json"
        onChange={(event) => setFile(event.target.files[0] ?? null)}
        problem={state.empty && t('import.empty')}
      />
      <Field
        as="textarea"
        rows={5}
        label={t('import.text')}
        hint={t('import.hint')}
        value={pasted}
        onChange={(event) => setPasted(event.target.value)}
      />
      <Field
        label={t('admin.yours')}
        hint={t('admin.yours.hint')}
        value={admin}
        onChange={(event) => setAdmin(event.target.value)}
      />
      <Check
        label={t('import.replace')}
        checked={replace}
        onChange={(event) => setReplace(event.target.checked)}
      />
      <button type="submit" aria-disabled={Boolean(state.busy)}>
        {t(state.busy ? 'import.going' : 'import.go')}
      </button>
      <p className="problem" role="alert">
        {state.failure}
      </p>
      <Outcome done={state.done} />
    </form>
  )
}

function Outcome({ done }) {
  const { t, number } = useText()
  const refused = done?.refused ?? []
  const counts = done && { taken: number(done.taken), refused: number(refused.length) }
  return (
    <>
      <p role="status" data-testid="imported">
        {done && t('import.taken', counts)}
      </p>
      {done?.admin_key && (
        <CopyField
          label={t('admin.key')}
          text={done.admin_key}
          hint={t('admin.once')}
          testId="import-admin-key"
        />
      )}
      {refused.length > 0 && (
        <>
          <h3>{t('import.refused')}</h3>
          {/* The reasons come from the service, which speaks English. */}
          <ul className="refused" lang="en" tabIndex={0}>
            {refused.map(({ record, namespace, key, reason }) => (
              <li key={record}>
                {record}. {key && <strong>{`${namespace}/${key}`}</strong>} {reason}
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  )
}
