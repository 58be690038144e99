// Keeps the knowledge of one counter up to date for as long as somebody looks at the page.

import { Refused } from '../api/errors.js'
import { persist, randomKey, RETRY } from '../api/persist.js'

export const REFRESH = 3_000

// Tells `tell` the actions of state.js, until stop() is called.
//
// - source: {read(), hit(idempotencyKey)}, open(listener) for its stream, and visit() where the page
//   itself is counted.
//
// Returns {hit, stop}. hit() counts one, through a failover if need be, and never twice.
export function watch(source, tell) {
  let stopped = false
  let reading = false
  let again = false
  let timer
  let closeStream = null

  const active = () => !stopped && !document.hidden
  const report = (action) => {
    if (!stopped) tell({ ...action, now: performance.now(), at: Date.now() })
  }

  async function readOnce() {
    const began = performance.now()
    try {
      const answer = await source.read()
      report({ type: 'read', answer, began })
      if (answer === null) closeOwnStream()
      else if (active()) closeStream ??= source.open(listener)
      return REFRESH
    } catch {
      report({ type: 'failed' })
      return RETRY
    }
  }

  // One request at a time; who asks for another meanwhile gets it right after.
  async function refresh() {
    clearTimeout(timer)
    again = reading
    if (reading || !active()) return
    reading = true
    const pause = await readOnce()
    reading = false
    if (!active()) return
    if (again) refresh()
    else timer = setTimeout(refresh, pause)
  }

  const listener = {
    onChange(change) {
      report({ type: 'streamed', ...change })
      if (!change.first && change.node === null) refresh()
    },
    onTrouble() {
      // A restarting node looks like this, too: whether the service answers, the next read says.
      refresh()
    },
  }

  function closeOwnStream() {
    closeStream?.()
    closeStream = null
  }

  function rest() {
    clearTimeout(timer)
    closeOwnStream()
  }

  function onVisibility() {
    if (document.hidden) {
      rest()
    } else {
      report({ type: 'resumed' })
      refresh()
    }
  }

  async function hit() {
    const key = randomKey()
    const began = performance.now()
    report({ type: 'counting' })
    try {
      const answer = await persist(
        () => source.hit(key),
        () => report({ type: 'failed' }),
      )
      report({ type: 'counted', answer, began })
    } catch (error) {
      const refused = error instanceof Refused
      report({ type: 'not-counted', refused, detail: error.message })
    }
    refresh()
  }

  document.addEventListener('visibilitychange', onVisibility)
  refresh()
  source.visit?.().then(
    (counted) => report({ type: 'visited', ...counted }),
    (error) => console.info(`the visit was not counted: ${error.message}`),
  )
  return {
    hit,
    stop() {
      stopped = true
      rest()
      document.removeEventListener('visibilitychange', onVisibility)
    },
  }
}
