// What the page asks of the service.

import { parseCounter, parseHistory, parseHit, parseOwned, parseRequests } from './answers.js'
import { Refused, Unreachable } from './errors.js'

const READ_TIMEOUT = 3_000
// The service itself waits for a new primary and for the majority before it answers.
const WRITE_TIMEOUT = 20_000
// Not a refusal of the request itself: later, or elsewhere, it may be done.
const PASSING = new Set([408, 425, 429])

const path = ({ namespace, name }) =>
  `/api/v1/counters/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`

export const streamUrl = ({ namespace, name }) => `/stream/${namespace}/${name}`

function bearer(admin) {
  return admin ? { Authorization: `Bearer ${admin}` } : {}
}

async function refusal(response) {
  let problem
  try {
    problem = await response.json()
  } catch (error) {
    return new Unreachable(`status ${response.status} without an explanation`, { cause: error })
  }
  const detail = problem?.detail ?? problem?.title ?? `status ${response.status}`
  if (response.status >= 500 || PASSING.has(response.status)) {
    return Object.assign(new Unreachable(detail), { problem })
  }
  return new Refused(response.status, detail)
}

// A client of the service. Each of its functions throws Unreachable or Refused.
export function createClient({ fetch = globalThis.fetch.bind(globalThis) } = {}) {
  async function send(method, url, { body, headers = {}, timeout, take }) {
    const signal = AbortSignal.timeout(timeout)
    try {
      const response = await fetch(url, { method, body, signal, headers })
      if (!response.ok) throw await refusal(response)
      return await take(response)
    } catch (error) {
      if (error instanceof Refused || error instanceof Unreachable) throw error
      throw new Unreachable('the service did not answer', { cause: error })
    }
  }

  // With who answered: every response of the service says so in its headers.
  const named = (parse) => async (response) => ({
    ...parse(await response.json()),
    servedBy: response.headers.get('X-Served-By'),
    release: response.headers.get('X-Release'),
  })

  const read = (url, take) => send('GET', url, { timeout: READ_TIMEOUT, take })

  return {
    requests: () => read('/api/v1/requests', named(parseRequests)),

    // The counter, or null if there is none of that name.
    async counter(key) {
      try {
        return await read(path(key), named(parseCounter))
      } catch (error) {
        if (error.status === 404) return null
        throw error
      }
    },

    async history(key, resolution) {
      const take = async (response) => parseHistory(await response.json())
      return read(`${path(key)}/history?resolution=${resolution}`, take)
    },

    // Counts one. Given the same idempotency key again, the service gives the same answer again.
    hit: (key, idempotencyKey) =>
      send('POST', `${path(key)}/hits`, {
        headers: { 'Idempotency-Key': idempotencyKey },
        timeout: WRITE_TIMEOUT,
        take: named(parseHit),
      }),

    // Makes a counter that `admin` owns. making.js does so for sure.
    create: (plan, admin) =>
      send('POST', '/api/v1/counters', {
        body: JSON.stringify(plan),
        headers: { 'Content-Type': 'application/json', ...bearer(admin) },
        timeout: WRITE_TIMEOUT,
        take: (response) => response.json(),
      }),

    // {items, next}: a page of the counters that an admin key owns, from behind `after` on.
    owned: (admin, after) =>
      send('GET', `/api/v1/counters${after ? `?after=${encodeURIComponent(after)}` : ''}`, {
        headers: bearer(admin),
        timeout: READ_TIMEOUT,
        take: async (response) => parseOwned(await response.json()),
      }),

    set: (key, value, admin) =>
      send('PUT', `${path(key)}/value`, {
        body: JSON.stringify({ value }),
        headers: { 'Content-Type': 'application/json', ...bearer(admin) },
        timeout: WRITE_TIMEOUT,
        take: async (response) => parseHit(await response.json()),
      }),

    remove: (key, admin) =>
      send('DELETE', path(key), { headers: bearer(admin), timeout: WRITE_TIMEOUT, take: () => null }),

    importCounts: (text, { type, replace, admin }) =>
      send('POST', `/api/v1/import?replace=${replace}`, {
        body: text,
        headers: { 'Content-Type': type, ...bearer(admin) },
        timeout: 3 * WRITE_TIMEOUT,
        take: (response) => response.json(),
      }),

    exportCounts: (format, admin) =>
      send('GET', `/api/v1/export?format=${format}`, {
        headers: bearer(admin),
        timeout: 3 * WRITE_TIMEOUT,
        take: (response) => response.blob(),
      }),
  }
}
