import { useEffect, useRef } from 'react'

import { useText } from '../i18n/text.jsx'

// Asks before something is done that cannot be undone. `children` are what else is to be filled in.
export function Confirm({ question, go, confirm, cancel, busy = false, children }) {
  const { t } = useText()
  const form = useRef(null)

  useEffect(() => {
    // Where the keyboard is, there the question is, too; Enter alone does nothing, and who has
    // answered goes on from where they were.
    const before = document.activeElement
    form.current.querySelector('input, button[type="button"]').focus()
    return () => before?.focus()
  }, [])

  function submit(event) {
    event.preventDefault()
    if (!busy) confirm()
  }

  return (
    <form
      ref={form}
      className="confirm"
      aria-label={question}
      onSubmit={submit}
      onKeyDown={({ key }) => key === 'Escape' && cancel()}
      noValidate
    >
      <p>{question}</p>
      {children}
      <p className="row">
        <button type="submit" className="danger" aria-disabled={busy}>
          {go}
        </button>
        <button type="button" className="second" onClick={cancel}>
          {t('confirm.cancel')}
        </button>
      </p>
    </form>
  )
}
