import { describe, expect, it, vi } from 'vitest'

import { createClient, parseAnswer, Unreachable } from '../src/client.js'

const answer = { counter: 'shared', count: 7, node: 'web-1', release: '1.0.0' }

function respond(body, status = 200) {
  return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status })
}

describe('parseAnswer', () => {
  it('takes what the page needs', () => {
    expect(parseAnswer({ ...answer, nodes: { 'web-1': 7 } })).toEqual({
      count: 7,
      node: 'web-1',
      release: '1.0.0',
      nodes: { 'web-1': 7 },
    })
  })

  it.each([
    null,
    'text',
    {},
    { ...answer, count: '7' },
    { ...answer, count: -1 },
    { ...answer, count: 1.5 },
    { ...answer, count: 2 ** 53 },
    { ...answer, node: undefined },
    { ...answer, release: 1 },
  ])('refuses %j', (body) => {
    expect(() => parseAnswer(body)).toThrow(Unreachable)
  })
})

describe('createClient', () => {
  it('reads with GET and hits with POST', async () => {
    const fetch = vi.fn(async () => respond(answer))
    const client = createClient({ fetch })
    await client.read()
    await client.hit()
    expect(fetch.mock.calls.map(([url, options]) => [url, options.method])).toEqual([
      ['/api/hits', 'GET'],
      ['/api/hits', 'POST'],
    ])
  })

  it('counts a visit once, however often it is asked to', async () => {
    const fetch = vi.fn(async () => respond(answer))
    const client = createClient({ fetch })
    const [first, second] = await Promise.all([client.visit(), client.visit()])
    expect(await client.visit()).toBe(first)
    expect(second).toBe(first)
    expect(fetch).toHaveBeenCalledTimes(1)
  })

  it('does not count a visit again when its answer was lost', async () => {
    const fetch = vi.fn().mockRejectedValue(new TypeError('network'))
    const client = createClient({ fetch })
    await expect(client.visit()).rejects.toThrow(Unreachable)
    await expect(client.visit()).rejects.toThrow(Unreachable)
    expect(fetch).toHaveBeenCalledTimes(1)
  })

  it.each([
    ['an error of the back end', () => respond({ detail: 'no primary' }, 503), 'no primary'],
    ["a balancer's own page", () => respond('<html>503</html>', 503), 'did not answer'],
    ['an error without detail', () => respond({}, 500), 'status 500'],
    ['nonsense', () => respond({ count: 'x' }), 'no count'],
  ])('is unreachable on %s', async (_, respondWith, message) => {
    const client = createClient({ fetch: async () => respondWith() })
    const failure = await client.read().catch((error) => error)
    expect(failure).toBeInstanceOf(Unreachable)
    expect(failure.message).toContain(message)
  })
})
