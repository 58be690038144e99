import { describe, expect, it, vi } from 'vitest'

import { createClient } from '../src/api/client.js'
import { Refused, Unreachable } from '../src/api/errors.js'
import { json } from './support.jsx'

const KEY = { namespace: 'mine', name: 'visits' }
const COUNTER = { value: 7, step: 1, nodes: { 'web-1': 7 }, rates: { minute: 1 } }

function ask(body, status) {
  const fetch = vi.fn(async () => (body instanceof Response ? body : json(body, status)))
  return { client: createClient({ fetch }), fetch }
}

async function failure(promise) {
  return promise.then(
    () => null,
    (error) => error,
  )
}

describe('the client', () => {
  it('reads a counter, with who answered', async () => {
    const { client, fetch } = ask(COUNTER)
    const counter = await client.counter(KEY)
    expect(counter).toEqual({ ...COUNTER, servedBy: 'web-1', release: '1.2.3' })
    expect(fetch.mock.calls[0][0]).toBe('/api/v1/counters/mine/visits')
  })

  it('knows that there is no such counter', async () => {
    const { client } = ask({ detail: 'There is no counter mine/visits.' }, 404)
    expect(await client.counter(KEY)).toBe(null)
  })

  it('reads the shared counter in the form of any other', async () => {
    const { client } = ask({ total: 7, nodes: {}, rates: {} })
    expect(await client.requests()).toMatchObject({ value: 7, step: 1 })
  })

  it('hits with an idempotency key and without a body', async () => {
    const { client, fetch } = ask({ value: 8 })
    expect((await client.hit(KEY, 'abc')).value).toBe(8)
    const [url, { method, headers, body }] = fetch.mock.calls[0]
    expect([url, method, body]).toEqual(['/api/v1/counters/mine/visits/hits', 'POST', undefined])
    expect(headers).toEqual({ 'Idempotency-Key': 'abc' })
  })

  it('reads the history with times of the page', async () => {
    const time = '2026-11-22T10:00:00.000Z'
    const { client } = ask({ points: [{ time, value: 3, change: 1 }] })
    expect(await client.history(KEY, 'minute')).toEqual([
      { time: Date.parse(time), value: 3, change: 1 },
    ])
  })

  it('sends an admin key only if there is one', async () => {
    const { client, fetch } = ask({})
    await client.create({ namespace: 'mine' }, '')
    await client.create({ namespace: 'mine' }, 'secret')
    const sent = fetch.mock.calls.map(([, { headers }]) => headers.Authorization)
    expect(sent).toEqual([undefined, 'Bearer secret'])
  })

  it('imports what it is given as what it is', async () => {
    const { client, fetch } = ask({ taken: 1, refused: [] })
    await client.importCounts('key,value\nabc,1\n', { type: 'text/csv', replace: true, admin: '' })
    const [url, { headers }] = fetch.mock.calls[0]
    expect(url).toBe('/api/v1/import?replace=true')
    expect(headers).toEqual({ 'Content-Type': 'text/csv' })
  })

  it.each([
    ['an error of the service', { detail: 'no primary' }, 503, Unreachable, 'no primary'],
    ['too much at once', { detail: 'later' }, 429, Unreachable, 'later'],
    ['an error without a detail', {}, 500, Unreachable, 'status 500'],
    ['a refusal', { detail: 'not yours' }, 403, Refused, 'not yours'],
    ["a balancer's own page", new Response('<html>', { status: 503 }), 503, Unreachable, '503'],
    ['nonsense', { value: 'x' }, 200, Unreachable, 'value'],
    ['too large a number', { ...COUNTER, value: 2 ** 53 }, 200, Unreachable, 'value'],
    ['a counter without rates', { ...COUNTER, rates: null }, 200, Unreachable, 'rates'],
    ['no JSON', new Response('<html>'), 200, Unreachable, 'did not answer'],
  ])('tells %s', async (_, body, status, kind, message) => {
    const { client } = ask(body, status)
    const error = await failure(client.counter(KEY))
    expect(error).toBeInstanceOf(kind)
    expect(error.message).toContain(message)
  })

  it('keeps what a problem says besides', async () => {
    const { client } = ask({ detail: 'no primary', admin_key: 'abc' }, 503)
    const error = await failure(client.importCounts('', { type: 'text/csv', replace: false }))
    expect(error.problem.admin_key).toBe('abc')
  })

  it('tells that nobody answered', async () => {
    const client = createClient({ fetch: vi.fn().mockRejectedValue(new TypeError('network')) })
    expect(await failure(client.requests())).toBeInstanceOf(Unreachable)
  })
})
