// The list of the newest hits: those that came one by one, and below them the minutes before. Pure.

import { NEWEST } from '../live/state.js'

const MINUTE = 60_000

// [{id, at, value, change, node, own, minute}], newest first. `earlier` is the history by minutes;
// the minute of the first single hit, and what came after it, is left out, for it has them, too.
export function newest(hits, earlier) {
  const first = Math.min(...hits.map(({ at }) => at))
  const minutes = earlier
    .filter(({ time, change }) => change !== 0 && time + MINUTE <= first)
    .map(({ time, value, change }) => ({ id: `m${time}`, at: time, value, change, minute: true }))
  return [...hits, ...minutes.reverse()].slice(0, NEWEST)
}
