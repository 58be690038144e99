// Checks what the service answers, so that nothing but whole answers reaches the page.

import { Unreachable } from './errors.js'

function require(good, what) {
  if (!good) throw new Unreachable(`the answer has no ${what}`)
}

function isAmounts(given) {
  return given !== null && typeof given === 'object' && Object.values(given).every(Number.isFinite)
}

// The state of a counter, from GET /api/v1/counters/{namespace}/{key}.
export function parseCounter(body) {
  require(Number.isSafeInteger(body?.value), 'value')
  require(Number.isSafeInteger(body.step), 'step')
  require(isAmounts(body.nodes), 'nodes')
  require(isAmounts(body.rates), 'rates')
  return body
}

// The shared counter, from GET /api/v1/requests, in the form of any other counter.
export function parseRequests(body) {
  return parseCounter({ value: body?.total, step: 1, nodes: body?.nodes, rates: body?.rates })
}

// What a hit came to.
export function parseHit(body) {
  require(Number.isSafeInteger(body?.value), 'value')
  return { value: body.value }
}

// A page of an owner's counters, from GET /api/v1/counters.
export function parseOwned(body) {
  require(Array.isArray(body?.items), 'items')
  return { items: body.items.map(parseCounter), next: body.next ?? null }
}

// One message of a stream; null as value says that the counter was removed.
export function parseChange(text) {
  let body
  try {
    body = JSON.parse(text)
  } catch (error) {
    throw new Unreachable('the message is not JSON', { cause: error })
  }
  require(body?.value === null || Number.isSafeInteger(body?.value), 'value')
  return { value: body.value, node: body.node ?? null }
}

// [{time, value, change}], oldest first, with times as milliseconds since 1970.
export function parseHistory(body) {
  require(Array.isArray(body?.points), 'points')
  return body.points.map(({ time, value, change }) => {
    const milliseconds = Date.parse(time)
    require(Number.isFinite(milliseconds), 'time')
    require(Number.isSafeInteger(value) && Number.isSafeInteger(change), 'value')
    return { time: milliseconds, value, change }
  })
}
