import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { counterHref, NAME } from '../route.js'
import { Field } from './Field.jsx'
import { focusFirstProblem } from './forms.js'

// Goes to the page of a counter whose name one knows.
export function OpenCounter() {
  const { t } = useText()
  const [key, setKey] = useState({ namespace: 'default', name: '' })
  const [checked, setChecked] = useState(false)

  const problem = (text) => (checked && !NAME.test(text) ? t('problem.name') : null)
  const change = (part) => (event) => setKey({ ...key, [part]: event.target.value.trim() })

  function submit(event) {
    event.preventDefault()
    setChecked(true)
    if (NAME.test(key.namespace) && NAME.test(key.name)) location.hash = counterHref(key)
    else focusFirstProblem(event.target)
  }

  return (
    <form className="card" aria-labelledby="open" onSubmit={submit} noValidate>
      <h2 id="open">{t('open')}</h2>
      <div className="fields">
        <Field
          label={t('make.namespace')}
          value={key.namespace}
          onChange={change('namespace')}
          problem={problem(key.namespace)}
        />
        <Field
          label={t('make.key')}
          value={key.name}
          onChange={change('name')}
          problem={problem(key.name)}
        />
      </div>
      <button type="submit" className="second">
        {t('open.go')}
      </button>
    </form>
  )
}
