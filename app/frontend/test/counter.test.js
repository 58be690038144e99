import { describe, expect, it } from 'vitest'

import { formatCount, initialState, reducer, shares } from '../src/counter.js'

const answer = (count, more = {}) => ({ count, node: 'web-1', release: '1.0.0', ...more })
const after = (...actions) => actions.reduce(reducer, initialState)

describe('reducer', () => {
  it('starts without a number', () => {
    expect(initialState).toMatchObject({ count: null, status: 'connecting' })
  })

  it('shows what was answered and by whom', () => {
    const state = after({ type: 'answered', answer: answer(5, { nodes: { 'web-1': 5 } }) })
    expect(state).toMatchObject({
      count: 5,
      servedBy: 'web-1',
      release: '1.0.0',
      status: 'live',
      nodes: { 'web-1': 5 },
    })
  })

  it('never goes back when an older answer arrives late', () => {
    const state = after(
      { type: 'answered', answer: answer(9, { nodes: { 'web-1': 9 } }) },
      { type: 'answered', answer: answer(8, { node: 'web-2', nodes: { 'web-1': 8 } }) },
    )
    expect(state).toMatchObject({ count: 9, nodes: { 'web-1': 9 }, servedBy: 'web-2' })
  })

  it('keeps the last known number while reconnecting', () => {
    const state = after({ type: 'answered', answer: answer(5) }, { type: 'failed' })
    expect(state).toMatchObject({ count: 5, status: 'reconnecting' })
  })

  it('comes back to life', () => {
    const state = after({ type: 'failed' }, { type: 'answered', answer: answer(5) })
    expect(state).toMatchObject({ count: 5, status: 'live' })
  })

  it('knows whether this visit was counted', () => {
    expect(after({ type: 'answered', answer: answer(5) }).visited).toBe(false)
    expect(after({ type: 'visited', answer: answer(5) }).visited).toBe(true)
  })

  it('tells screen readers of a hit and of its failure', () => {
    const counting = after({ type: 'answered', answer: answer(1199) }, { type: 'counting' })
    expect(counting).toMatchObject({ counting: true, announcement: '' })
    expect(reducer(counting, { type: 'counted', answer: answer(1200) })).toMatchObject({
      count: 1200,
      counting: false,
      announcement: 'Counted. 1,200 hits, answered by web-1.',
    })
    expect(reducer(counting, { type: 'not-counted' })).toMatchObject({
      count: 1199,
      counting: false,
      status: 'reconnecting',
    })
  })

  it('refuses actions it does not know', () => {
    expect(() => after({ type: 'typo' })).toThrow('typo')
  })
})

describe('formatCount', () => {
  it.each([
    [null, '–'],
    [0, '0'],
    [1234567, '1,234,567'],
    [Number.MAX_SAFE_INTEGER, '9,007,199,254,740,991'],
  ])('%s is %s', (count, text) => expect(formatCount(count)).toBe(text))
})

describe('shares', () => {
  it('orders as people count and measures against the largest', () => {
    expect(shares({ 'web-10': 5, 'web-2': 10 })).toEqual([
      { node: 'web-2', count: 10, share: 1 },
      { node: 'web-10', count: 5, share: 0.5 },
    ])
  })

  it('copes with none, and with zero', () => {
    expect(shares({})).toEqual([])
    expect(shares({ 'web-1': 0 })).toEqual([{ node: 'web-1', count: 0, share: 0 }])
  })
})
