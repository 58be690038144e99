// The server-sent events of one counter.

import { parseChange } from './answers.js'

// After an answer that is no stream, such as 503, a browser does not try again by itself.
export const REOPEN = 5_000

// Opens the stream and keeps it open; returns what closes it.
//
// - onChange({value, node, first}): `first` with the present value that each connection begins with.
// - onTrouble(): the connection was lost or brought nonsense, or the service itself cannot ask its
//   database right now.
export function openStream(url, { onChange, onTrouble }) {
  let source
  let timer

  function open() {
    let first = true
    source = new EventSource(url)
    source.onopen = () => {
      first = true
    }
    const take = ({ data }) => {
      let change
      try {
        change = parseChange(data)
      } catch {
        onTrouble()
        return
      }
      onChange({ ...change, first })
      first = false
    }
    source.onmessage = take
    source.addEventListener('removed', take)
    source.addEventListener('stale', onTrouble)
    source.onerror = () => {
      onTrouble()
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, REOPEN)
    }
  }

  open()
  return () => {
    clearTimeout(timer)
    source.close()
  }
}
