import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { Refused, Unreachable } from '../src/api/errors.js'
import { PATIENCE, persist, randomKey, RETRY } from '../src/api/persist.js'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

describe('persist', () => {
  it('tries again until it is done', async () => {
    const attempt = vi
      .fn()
      .mockRejectedValueOnce(new Unreachable('a'))
      .mockRejectedValueOnce(new Unreachable('b'))
      .mockResolvedValue(7)
    const retries = vi.fn()
    const done = persist(attempt, retries)
    await vi.advanceTimersByTimeAsync(2 * RETRY)
    expect(await done).toBe(7)
    expect(retries).toHaveBeenCalledTimes(2)
  })

  it.each([new Refused(422, 'no'), new TypeError('a mistake of ours')])(
    'does not repeat what will not change: %s',
    async (error) => {
      const attempt = vi.fn().mockRejectedValue(error)
      await expect(persist(attempt)).rejects.toBe(error)
      expect(attempt).toHaveBeenCalledTimes(1)
    },
  )

  it('gives up in the end', async () => {
    const done = persist(vi.fn().mockRejectedValue(new Unreachable('down')))
    const failed = expect(done).rejects.toThrow('down')
    await vi.advanceTimersByTimeAsync(PATIENCE + RETRY)
    await failed
  })
})

describe('randomKey', () => {
  it('has 128 bits that nobody else has', () => {
    expect(randomKey()).toMatch(/^[0-9a-f]{32}$/)
    expect(randomKey()).not.toBe(randomKey())
  })
})
