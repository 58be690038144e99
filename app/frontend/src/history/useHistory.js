import { useEffect, useState } from 'react'

const REFRESH = 20_000
const RETRY = 2_000

// The history of a counter: null until there is one, then the newest that could be had, as
// {points, sets}. While the service cannot be reached (`live` is false) it stays as it is, and is
// read again right after; and so it is when the counter was set, which `sets` counts.
export function useHistory(source, resolution, live, sets) {
  const [history, setHistory] = useState(null)

  useEffect(() => {
    if (!live) return undefined
    let stopped = false
    let timer

    async function refresh() {
      let pause = REFRESH
      try {
        const points = await source.history(resolution)
        if (!stopped) setHistory({ source, resolution, points, sets })
      } catch (error) {
        // The count itself is read more often, and it is where the page says what is wrong.
        console.info(`no history: ${error.message}`)
        pause = RETRY
      }
      if (!stopped) timer = setTimeout(refresh, pause)
    }

    refresh()
    return () => {
      stopped = true
      clearTimeout(timer)
    }
  }, [source, resolution, live, sets])

  const fits = history !== null && history.source === source && history.resolution === resolution
  return fits ? history : null
}
