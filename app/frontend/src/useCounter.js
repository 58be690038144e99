import { useCallback, useEffect, useReducer, useRef } from 'react'

import { initialState, reducer } from './counter.js'

export const REFRESH = 3_000
const RETRY = 1_000

// Keeps the shared counter up to date: counts the visit, then reads every few seconds, faster
// while the back end cannot be reached, and not at all while nobody looks at the page.
// Returns [state, countAgain].
export function useCounter(client) {
  const [state, dispatch] = useReducer(reducer, initialState)
  const busy = useRef(false)

  useEffect(() => {
    let stopped = false
    let timer

    const tell = (action) => stopped || dispatch(action)

    async function refresh() {
      clearTimeout(timer)
      let pause = REFRESH
      if (!document.hidden) {
        try {
          tell({ type: 'answered', answer: await client.read() })
        } catch {
          tell({ type: 'failed' })
          pause = RETRY
        }
      }
      clearTimeout(timer)
      if (!stopped) timer = setTimeout(refresh, pause)
    }

    async function begin() {
      try {
        tell({ type: 'visited', answer: await client.visit() })
      } catch {
        tell({ type: 'failed' })
      }
      if (!stopped) await refresh()
    }

    const seen = () => document.hidden || refresh()

    document.addEventListener('visibilitychange', seen)
    begin()
    return () => {
      stopped = true
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', seen)
    }
  }, [client])

  const countAgain = useCallback(async () => {
    if (busy.current) return
    busy.current = true
    dispatch({ type: 'counting' })
    try {
      dispatch({ type: 'counted', answer: await client.hit() })
    } catch {
      dispatch({ type: 'not-counted' })
    } finally {
      busy.current = false
    }
  }, [client])

  return [state, countAgain]
}
