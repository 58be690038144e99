// Where the page has a counter from, and what it remembers of those it has shown.

import { streamUrl } from '../api/client.js'
import { persist, randomKey } from '../api/persist.js'
import { openStream } from '../api/stream.js'
import { initialState } from './state.js'

export const SHARED = { namespace: 'default', name: 'shared' }

// Those who ask for the same while it is on its way wait for one answer.
function once(read) {
  const pending = new Map()
  return (what) => {
    if (!pending.has(what)) {
      pending.set(what, read(what).finally(() => pending.delete(what)))
    }
    return pending.get(what)
  }
}

// Returns functions that give the source of a counter, the same one each time: with its last known
// state, so that a page that is left and opened again shows no lower number than before.
export function createSources(client) {
  const sources = new Map()

  function remembered(key, read) {
    const id = `${key.namespace}/${key.name}`
    if (!sources.has(id)) {
      let last = initialState
      sources.set(id, {
        key,
        read,
        recall: () => last,
        remember: (state) => {
          last = state
        },
        hit: (idempotencyKey) => client.hit(key, idempotencyKey),
        history: once((resolution) => client.history(key, resolution)),
        open: (listener) => openStream(streamUrl(key), listener),
      })
    }
    return sources.get(id)
  }

  const shared = remembered(SHARED, client.requests)
  let visit
  // Counts this page load, once: later calls get the first one's promise, so that React may mount
  // the page as often as it likes.
  shared.visit = () => {
    const key = randomKey()
    const began = performance.now()
    visit ??= persist(() => client.hit(SHARED, key)).then((answer) => ({ answer, began }))
    return visit
  }

  return {
    shared,
    counter: (key) => remembered(key, () => client.counter(key)),
  }
}
