import { useEffect, useState } from 'react'

// The minutes before the page was opened, [{time, value, change}]: what the newest hits begin with.
// None until they could be had, once the service is there (`live`).
export function useEarlier(source, live) {
  const [minutes, setMinutes] = useState([])

  useEffect(() => {
    if (!live || minutes.length > 0) return undefined
    let stopped = false
    source.history('minute').then(
      (points) => !stopped && setMinutes(points),
      (error) => console.info(`no earlier hits: ${error.message}`),
    )
    return () => {
      stopped = true
    }
  }, [source, live, minutes])

  return minutes
}
