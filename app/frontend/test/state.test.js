import { describe, expect, it } from 'vitest'

import { hasHistory, initialState, isStale, NEWEST, reducer, SETTLE } from '../src/live/state.js'

const read = (value, { began = 0, now = began, step = 1 } = {}) => ({
  type: 'read',
  answer: value === null ? null : { value, step, nodes: {}, servedBy: 'web-1', release: '1' },
  began,
  now,
  at: 1_000 + now,
})
const streamed = (value, more = {}) => ({
  type: 'streamed',
  value,
  node: 'web-2',
  first: false,
  now: 0,
  at: 7,
  ...more,
})
const counted = (value, began = 0) => ({
  type: 'counted',
  answer: { value, servedBy: 'web-2', release: '2' },
  began,
  at: 9,
})
const after = (...actions) => actions.reduce(reducer, initialState)

describe('the number', () => {
  it('is none before the first answer', () => {
    expect(initialState).toMatchObject({ value: null, status: 'connecting' })
    expect(isStale(initialState)).toBe(false)
  })

  it('is what was answered, with who answered', () => {
    expect(after(read(5))).toMatchObject({
      value: 5,
      status: 'live',
      servedBy: 'web-1',
      release: '1',
      seen: 1_000,
    })
  })

  it('goes up with reads, hits and the stream', () => {
    expect(after(read(5), read(6)).value).toBe(6)
    expect(after(read(5), counted(6)).value).toBe(6)
    expect(after(read(5), streamed(8)).value).toBe(8)
  })

  it('is kept and marked as stale while nobody answers', () => {
    const state = after(read(5), { type: 'failed' })
    expect(state).toMatchObject({ value: 5, status: 'reconnecting' })
    expect(isStale(state)).toBe(true)
  })

  it('is stale on coming back to the page, until it is confirmed', () => {
    const state = after(read(5), { type: 'resumed' })
    expect(isStale(state)).toBe(true)
    expect(isStale(reducer(state, read(5)))).toBe(false)
  })

  it('never goes back by an answer that was overtaken', () => {
    expect(after(read(9), streamed(8)).value).toBe(9)
    expect(after(read(9), counted(8)).value).toBe(9)
    expect(after(read(9), read(8))).toMatchObject({ value: 9, status: 'reconnecting' })
  })

  it('never goes forward by an answer that was overtaken, where hits count down', () => {
    const down = { step: -1 }
    expect(after(read(9, down), read(8, down)).value).toBe(8)
    expect(after(read(9, down), streamed(10)).value).toBe(9)
    expect(after(read(9, down), read(10, down)).status).toBe('reconnecting')
  })

  it('follows a reset that the stream announced, once an answer says so', () => {
    const announced = after(read(9), streamed(0, { node: null, now: 10 }))
    expect(announced.value).toBe(9)
    expect(reducer(announced, read(0, { began: 11 })).value).toBe(0)
  })

  it('does not take an answer from before the reset for the one after it', () => {
    const announced = after(read(9), streamed(0, { node: null, now: 10 }))
    const overtaken = reducer(announced, read(9, { began: 5 }))
    expect(overtaken.value).toBe(9)
    expect(reducer(overtaken, read(0, { began: 11 })).value).toBe(0)
  })

  it('takes the announcement for one answer only', () => {
    const set = after(read(9), streamed(4, { node: null, now: 10 }), read(4, { began: 11 }))
    expect(reducer(set, read(3, { began: 12 }))).toMatchObject({ value: 4 })
  })

  it('follows a reset that nobody announced after no old answer can live any more', () => {
    const doubted = after(read(9, { now: 0 }), read(2, { now: 100 }))
    expect(isStale(doubted)).toBe(true)
    expect(reducer(doubted, read(2, { now: 99 + SETTLE })).value).toBe(9)
    expect(reducer(doubted, read(2, { now: 100 + SETTLE }))).toMatchObject({
      value: 2,
      status: 'live',
    })
  })

  it('doubts no more once the answers agree again', () => {
    const agreed = after(read(9), read(2, { now: 100 }), read(10, { now: 200 }))
    expect(agreed).toMatchObject({ value: 10, status: 'live', doubtedAt: null })
  })

  it('does not come back to what was counted before the reset', () => {
    const set = after(
      read(9),
      streamed(0, { node: null, now: 10 }),
      read(0, { began: 11, now: 12 }),
    )
    expect(reducer(set, counted(10, 5)).value).toBe(0)
    expect(reducer(set, counted(1, 20)).value).toBe(1)
  })

  it('is none once the counter was removed, and not before that is sure', () => {
    expect(after(read(9), read(null)).value).toBe(9)
    const removed = after(read(9), streamed(null, { node: null, now: 1 }), read(null, { began: 2 }))
    expect(removed).toMatchObject({ value: null, status: 'absent', details: null })
  })

  it('begins where the first hit made the counter', () => {
    expect(after(read(null), counted(1), read(1))).toMatchObject({ value: 1, status: 'live' })
  })
})

describe('the newest hits', () => {
  it('come newest first, with how much each added', () => {
    const { hits } = after(read(5), streamed(5, { first: true }), streamed(6), streamed(9))
    expect(hits.map(({ value, change, node }) => [value, change, node])).toEqual([
      [9, 3, 'web-2'],
      [6, 1, 'web-2'],
    ])
    expect(new Set(hits.map(({ id }) => id)).size).toBe(2)
  })

  it('are a few, and neither the first message of a stream nor a reset is one', () => {
    expect(after(streamed(5, { first: true }), streamed(0, { node: null })).hits).toEqual([])
    const many = Array.from({ length: 20 }, (_, index) => streamed(index))
    expect(after(...many).hits).toHaveLength(NEWEST)
  })

  it('have one entry for a hit of one’s own, whoever tells of it first', () => {
    const first = after(read(5), streamed(5, { first: true }), counted(6), streamed(6))
    const second = after(read(5), streamed(5, { first: true }), streamed(6), counted(6))
    for (const { hits } of [first, second]) {
      expect(hits).toMatchObject([{ value: 6, change: 1, node: 'web-2', own: true }])
    }
  })

  it('know those of one’s own that were counted together with others', () => {
    const begun = [read(5), streamed(5, { first: true })]
    const answered = after(...begun, counted(6), counted(7), streamed(8))
    expect(answered.hits).toMatchObject([{ value: 8, change: 3, own: true }])
    const told = after(...begun, streamed(8), counted(6), counted(7))
    expect(told.hits).toMatchObject([{ value: 8, change: 3, own: true }])
  })

  it('take no hit of another node for one’s own', () => {
    const { hits } = after(read(5), streamed(5, { first: true }), streamed(6, { node: 'web-1' }), counted(7))
    expect(hits.map(({ value, own }) => [value, own])).toEqual([
      [7, true],
      [6, false],
    ])
  })

  it('have the newest of one’s own among them, however many came after it', () => {
    const others = Array.from({ length: 20 }, (_, index) => streamed(7 + index, { node: 'web-1' }))
    const { hits } = after(read(5), streamed(5, { first: true }), counted(6), ...others)
    expect(hits).toHaveLength(NEWEST)
    expect(hits.at(-1)).toMatchObject({ value: 6, own: true })
  })

  it('list the visit once, however often its page is come back to', () => {
    const visited = { type: 'visited', answer: counted(6).answer, began: 0, at: 1 }
    expect(after(read(5), visited, visited).hits).toHaveLength(1)
  })

  it('say nothing of the change where the one before is not known', () => {
    expect(after(streamed(5)).hits[0].change).toBe(null)
  })
})

describe('the history', () => {
  it('is asked for once there is one, and while the service answers', () => {
    expect(hasHistory(after(read(0)))).toBe(false)
    expect(hasHistory(after(read(0), counted(1)))).toBe(true)
    expect(hasHistory(after(read(5), { type: 'failed' }))).toBe(false)
    const made = read(0)
    made.answer.created = '2026-11-28T00:00:00Z'
    expect(hasHistory(after(made))).toBe(true)
  })
})

describe('that the counter was set', () => {
  it('is counted, so that its history is read again', () => {
    expect(after(read(5), streamed(5, { first: true, node: null })).sets).toBe(0)
    expect(after(read(5), streamed(0, { node: null })).sets).toBe(1)
  })
})

describe('a hit of one’s own', () => {
  it('is the visit, too, from the moment that the number has it', () => {
    const { answer } = counted(6)
    const state = after(read(5), { type: 'visited', answer, began: 0, at: 1 })
    expect(state).toMatchObject({ value: 6, visited: true, notice: null })
  })

  it('is told to a screen reader, and so is that it was lost or refused', () => {
    const counting = after(read(5), { type: 'counting' })
    expect(counting).toMatchObject({ counting: true, notice: null })
    expect(reducer(counting, counted(6))).toMatchObject({
      counting: false,
      notice: { kind: 'counted', value: 6, node: 'web-2' },
    })
    const lost = reducer(counting, { type: 'not-counted', refused: false, detail: 'x' })
    expect(lost).toMatchObject({ counting: false, value: 5, notice: { kind: 'lost' } })
    const refused = reducer(counting, { type: 'not-counted', refused: true, detail: 'x' })
    expect(refused.notice).toEqual({ kind: 'refused', detail: 'x' })
  })

  it('is not the only thing that can be misspelt', () => {
    expect(() => after({ type: 'typo' })).toThrow('typo')
  })
})
