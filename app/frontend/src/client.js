// What the page asks of the back end.

const READ_TIMEOUT = 5_000
// The back end itself waits for a new primary and for the majority before it answers.
const HIT_TIMEOUT = 20_000

// Raised for every answer that is not a counter: no network, an error, nonsense.
export class Unreachable extends Error {}

// Returns the answer as {count, node, release, nodes?}; throws Unreachable for anything else.
export function parseAnswer(body) {
  const { count, node, release, nodes } = body ?? {}
  if (!Number.isSafeInteger(count) || count < 0) throw new Unreachable('no count in the answer')
  if (typeof node !== 'string' || typeof release !== 'string') {
    throw new Unreachable('the answer does not say who gave it')
  }
  return nodes ? { count, node, release, nodes } : { count, node, release }
}

// A client of the shared counter. Make one a page load.
//
// - read(): the counter with its shares per node.
// - hit(): count one. Never repeated by itself: an answer that got lost may have been counted.
// - visit(): hit(), but only the first time; later calls get the first one's promise, so that
//   React may mount the page as often as it likes.
export function createClient({ fetch = globalThis.fetch, url = '/api/hits' } = {}) {
  async function ask(method, timeout) {
    let response
    let body
    try {
      const signal = AbortSignal.timeout(timeout)
      response = await fetch(url, { method, signal, headers: { Accept: 'application/json' } })
      body = await response.json()
    } catch (error) {
      throw new Unreachable('the back end did not answer', { cause: error })
    }
    if (!response.ok) throw new Unreachable(body?.detail ?? `status ${response.status}`)
    return parseAnswer(body)
  }

  let visited
  const hit = () => ask('POST', HIT_TIMEOUT)
  return {
    hit,
    read: () => ask('GET', READ_TIMEOUT),
    visit: () => (visited ??= hit()),
  }
}
