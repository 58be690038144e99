import { useId, useRef, useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { copyText } from './forms.js'

// A text to be taken elsewhere, with the button that copies it.
export function CopyField({ label, text, hint, testId }) {
  const { t } = useText()
  const id = useId()
  const input = useRef(null)
  const [outcome, setOutcome] = useState(null)
  const lines = text.split('\n').length

  async function copy() {
    const copied = await copyText(text, input.current)
    setOutcome(copied ? 'copied' : 'copy.failed')
  }

  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <div className="copy">
        <textarea
          id={id}
          ref={input}
          className="code"
          readOnly
          rows={lines}
          value={text}
          data-testid={testId}
          aria-describedby={hint ? `${id}-hint` : undefined}
        />
        <button
          type="button"
          className="second"
          aria-label={t('copy', { what: label })}
          onClick={copy}
        >
          {t(outcome === 'copied' ? 'copied' : 'copy.short')}
        </button>
      </div>
      {hint && (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      )}
      <p className="visually-hidden" aria-live="polite">
        {outcome && t(outcome)}
      </p>
    </div>
  )
}
