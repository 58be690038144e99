import { useEffect, useState } from 'react'

const REFRESH = 20_000
const RETRY = 2_000

// The history of a counter: null until there is one, then the newest that could be had. While the
// service cannot be reached (`live` is false) it stays as it is, and is read again right after.
export function useHistory(source, resolution, live) {
  const [history, setHistory] = useState(null)

  useEffect(() => {
    if (!live) return undefined
    let stopped = false
    let timer

    async function refresh() {
      let pause = REFRESH
      try {
        const points = await source.history(resolution)
        if (!stopped) setHistory({ source, resolution, points })
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
  }, [source, resolution, live])

  const fits = history !== null && history.source === source && history.resolution === resolution
  return fits ? history.points : null
}
