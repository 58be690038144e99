import { useCallback, useEffect, useReducer, useRef } from 'react'

import { reducer } from './state.js'
import { watch } from './watch.js'

// What was known is still known when a page is opened again, but it is no longer fresh.
const recall = (source) => ({ ...source.recall(), status: 'connecting', counting: false, notice: null })

// Follows the counter of `source`. Returns [state, hit].
export function useCounter(source) {
  const [state, dispatch] = useReducer(reducer, source, recall)
  const watcher = useRef(null)

  useEffect(() => {
    watcher.current = watch(source, dispatch)
    return () => watcher.current.stop()
  }, [source])

  useEffect(() => {
    source.remember({ ...state, streamed: null })
  }, [source, state])

  const { counting } = state
  const hit = useCallback(() => {
    if (!counting) watcher.current.hit()
  }, [counting])

  return [state, hit]
}
