// What the forms have in common.

import { Refused } from '../api/errors.js'

// Takes the focus to the first field that is not right, after the problems are on the page.
export function focusFirstProblem(form) {
  requestAnimationFrame(() => form.querySelector('[aria-invalid="true"]')?.focus())
}

// Says what went wrong, in the language of the page wherever that has words for it.
export function explain(error, t) {
  if (!(error instanceof Refused)) return t('problem.unreachable')
  const known = { 401: true, 403: true, 409: true, 413: true }
  if (known[error.status]) return t(`problem.${error.status}`)
  return t('problem.refused', { detail: error.message })
}

// Copies a text; false where the browser forbids it. The Clipboard API is for secure origins only,
// and the page must work from plain HTTP, so there is the older way, too.
export async function copyText(text, input) {
  if (navigator.clipboard && isSecureContext) {
    try {
      await navigator.clipboard.writeText(text)
      return true
    } catch (error) {
      console.info(`the clipboard refused: ${error.message}`)
    }
  }
  input.select()
  return document.execCommand('copy')
}

