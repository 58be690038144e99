import { useState } from 'react'

import { Refused } from '../api/errors.js'
import { randomKey } from '../api/persist.js'
import { useText } from '../i18n/text.jsx'
import { useKeys } from '../keys/keys.jsx'
import { Check, Field } from '../parts/Field.jsx'
import { explain, focusFirstProblem } from '../parts/forms.js'
import { useTitle } from '../parts/useTitle.js'

// The name of a file may say anything; its first character does not lie.
const mediaType = (text) => (/^\uFEFF?\s*[[{]/.test(text) ? 'application/json' : 'text/csv')

export function Import({ client }) {
  const { t } = useText()
  const { latest, made } = useKeys()
  const [file, setFile] = useState(null)
  const [pasted, setPasted] = useState('')
  const [admin, setAdmin] = useState(latest)
  const [replace, setReplace] = useState(false)
  const [state, setState] = useState({})
  useTitle(t('import'))

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
    const key = admin.trim() || randomKey()
    // Made here, so that it is known however the answer ends; the next import is under the same.
    const note = () => {
      made(key, [], key !== admin.trim())
      setAdmin(key)
    }
    try {
      const done = await client.importCounts(text, { type: mediaType(text), replace, admin: key })
      if (done.taken > 0) note()
      setState({ done })
    } catch (error) {
      // A part may have been taken where nobody refused the whole.
      if (!(error instanceof Refused)) note()
      setState({ failure: explain(error, t), done: error.problem?.refused && error.problem })
    }
  }

  return (
    <form className="card" aria-labelledby="import" onSubmit={submit} noValidate>
      <h1 id="import">{t('import')}</h1>
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
        hint={t(latest ? 'admin.same.hint' : 'admin.yours.hint')}
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
      {done?.taken > 0 && (
        <p>
          <a href="#/mine">{t('import.see')}</a>
        </p>
      )}
      {refused.length > 0 && (
        <>
          <h2>{t('import.refused')}</h2>
          <ul className="refused" tabIndex={0} aria-label={t('import.refused')}>
            {refused.map(({ record, line, text, reason }) => (
              <Refusal key={record} record={record} line={line} text={text} reason={reason} />
            ))}
          </ul>
        </>
      )}
    </>
  )
}

function Refusal({ record, line, text, reason }) {
  const { t, number } = useText()
  const where = line
    ? t('import.line', { line: number(line) })
    : t('import.record', { record: number(record) })
  return (
    <li>
      <strong>{where}</strong> <code>{text}</code>
      {/* The reasons come from the service, which speaks English. */}
      <span lang="en"> {reason}</span>
    </li>
  )
}
