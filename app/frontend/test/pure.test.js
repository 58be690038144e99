import { describe, expect, it } from 'vitest'

import { busiest, follow, total } from '../src/history/series.js'
import { formats } from '../src/i18n/formats.js'
import { firstLanguage, MESSAGES, regional, translate } from '../src/i18n/text.jsx'
import { shares } from '../src/parts/shares.js'
import { badgeUrl, markdown, pageSnippet } from '../src/parts/snippets.js'
import { parseRoute } from '../src/route.js'
import { EMPTY, readPlan } from '../src/views/plan.js'

describe('the languages', () => {
  it('have the same texts with the same gaps', () => {
    const gaps = (messages) =>
      Object.entries(messages).map(([key, text]) => [key, (text.match(/\{\w+\}/g) ?? []).sort()])
    expect(gaps(MESSAGES.es)).toEqual(gaps(MESSAGES.en))
  })

  it.each([
    [null, ['es-MX', 'en'], 'es'],
    [null, ['fr', 'es'], 'es'],
    [null, ['fr'], 'en'],
    ['en', ['es'], 'en'],
    ['xx', ['es'], 'es'],
    [null, [], 'en'],
  ])('begin with the chosen one or the best: %s of %j', (chosen, wanted, language) => {
    expect(firstLanguage(chosen, wanted)).toBe(language)
  })

  it('are written as the browser’s region does', () => {
    expect(regional('en', ['es-MX', 'en-GB', 'en'])).toBe('en-GB')
    expect(regional('es', ['en-GB'])).toBe('es')
  })

  it('fill the gaps, and have no text missing', () => {
    expect(translate({ a: '{x} of {y}' }, 'a', { x: 1, y: 2 })).toBe('1 of 2')
    expect(() => translate({}, 'a')).toThrow('no text for a')
  })

  it.each([
    ['en', null, '–'],
    ['en', 1234, '1,234'],
    ['es', 1234, '1.234'],
    ['en', Number.MAX_SAFE_INTEGER, '9,007,199,254,740,991'],
  ])('write numbers: %s %s', (language, value, text) => {
    expect(formats(language).number(value)).toBe(text)
  })
})

describe('addresses', () => {
  it.each([
    ['', { view: 'home' }],
    ['#/', { view: 'home' }],
    ['#/new', { view: 'make' }],
    ['#/move', { view: 'move' }],
    ['#/c/mine/a.b-c_d', { view: 'counter', namespace: 'mine', name: 'a.b-c_d' }],
    ['#/c/mine', { view: 'lost' }],
    ['#/c/mine/ab', { view: 'lost' }],
    ['#/c/mine/abc/d', { view: 'lost' }],
    ['#/c/mine/%2e%2e%2f', { view: 'lost' }],
    ['#/constructor', { view: 'lost' }],
  ])('%s', (hash, route) => expect(parseRoute(hash)).toEqual(route))
})

describe('the chart', () => {
  const points = [
    { time: 1, value: 5, change: 5 },
    { time: 2, value: 7, change: 2 },
  ]

  it('ends with the count that is shown', () => {
    const shown = follow(points, 'minute', 9)
    expect(shown.at(-1)).toEqual({ time: 2, value: 9, change: 4 })
    expect(follow(points, 'minute', 7)).toEqual(points)
    expect(follow(points, 'minute', null)).toEqual(points)
    expect(follow([], 'minute', 7)).toEqual([])
  })

  it('shows the newest points', () => {
    const many = Array.from({ length: 100 }, (_, time) => ({ time, value: time, change: 1 }))
    expect(follow(many, 'minute', 99)[0].time).toBe(40)
  })

  it('is summed up', () => {
    expect(total(points)).toBe(7)
    expect(busiest(points).time).toBe(1)
  })
})

describe('shares', () => {
  it('are ordered as people count and measured against the largest', () => {
    expect(shares({ 'web-10': 5, 'web-2': 10 })).toEqual([
      { node: 'web-2', count: 10, share: 1 },
      { node: 'web-10', count: 5, share: 0.5 },
    ])
    expect(shares({ 'web-1': 0 })).toEqual([{ node: 'web-1', count: 0, share: 0 }])
    expect(shares({ 'web-1': -4, 'web-2': -2 })[1].share).toBe(0.5)
  })
})

describe('the form', () => {
  it('asks for what was given, and for nothing else', () => {
    const form = { ...EMPTY, namespace: 'mine', value: ' 12 ', days: '2' }
    expect(readPlan(form)).toEqual({
      plan: { namespace: 'mine', value: 12, step: 1, lifetime: 172_800, resettable: true },
      problems: {},
    })
  })

  it.each([
    [{ namespace: 'a b' }, 'namespace'],
    [{ namespace: '' }, 'namespace'],
    [{ key: 'ab' }, 'key'],
    [{ value: '1.5' }, 'value'],
    [{ value: '9007199254740992' }, 'value'],
    [{ value: '1e3' }, 'value'],
    [{ step: '0' }, 'step'],
    [{ lower: '2', upper: '1' }, 'upper'],
    [{ days: '0' }, 'days'],
  ])('says what is wrong with %j', (given, field) => {
    expect(Object.keys(readPlan({ ...EMPTY, ...given }).problems)).toEqual([field])
  })
})

describe('snippets', () => {
  const key = { namespace: 'mine', name: 'visits' }

  it('name this service', () => {
    expect(pageSnippet('http://here', key)).toContain("fetch('http://here/hit/mine/visits')")
  })

  it('have labels that stay inside their brackets', () => {
    const url = badgeUrl(key, { label: 'a&b]', color: '#0f766e', style: 'flat' })
    expect(url).toBe('/badge/mine/visits.svg?label=a%26b%5D&color=0f766e&style=flat')
    expect(markdown('http://here', 'a]', url)).toBe(`![a\\]](http://here${url})`)
  })

  it.each([
    [{ numbers: '1234567', counts: false }, ''],
    [{ numbers: '1,234,567', counts: false }, '&separator=%2C'],
    [{ numbers: '1 234 567', counts: true }, '&separator=+&hit=1'],
    [{ numbers: '1.2M', counts: true }, '&abbreviated=true&hit=1'],
  ])('write the number and count as is wanted: %j', (wanted, query) => {
    const url = badgeUrl(key, { label: 'hits', color: '#fff', style: 'flat', ...wanted })
    expect(url).toBe(`/badge/mine/visits.svg?label=hits&color=fff&style=flat${query}`)
  })
})
