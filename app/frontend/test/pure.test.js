import { describe, expect, it } from 'vitest'

import { busiest, fillWindow, follow, limits, SHOWN, total } from '../src/history/series.js'
import { datasets } from '../src/history/style.js'
import { formats } from '../src/i18n/formats.js'
import { firstLanguage, MESSAGES, regional, translate } from '../src/i18n/text.jsx'
import { newest } from '../src/parts/newest.js'
import { shares } from '../src/parts/shares.js'
import { badgeUrl, markdown, pageSnippet, pageUrl } from '../src/parts/snippets.js'
import { hashOfPath, parseRoute } from '../src/route.js'
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
    ['#/mine', { view: 'mine' }],
    ['#/import', { view: 'import' }],
    ['#/new/mine/abc', { view: 'make', namespace: 'mine', name: 'abc' }],
    ['#/new/mine/a b', { view: 'lost' }],
    ['#/mine/mine/abc', { view: 'lost' }],
    ['#/c/mine/a.b-c_d', { view: 'counter', namespace: 'mine', name: 'a.b-c_d' }],
    ['#/c/mine', { view: 'lost' }],
    ['#/c/mine/ab', { view: 'lost' }],
    ['#/c/mine/abc/d', { view: 'lost' }],
    ['#/c/mine/%2e%2e%2f', { view: 'lost' }],
    ['#/constructor', { view: 'lost' }],
  ])('%s', (hash, route) => expect(parseRoute(hash)).toEqual(route))
})

describe('addresses without #', () => {
  it.each([
    ['/', null],
    ['/index.html', null],
    ['/counter/blog', '#/c/default/blog'],
    ['/counter/mine/blog', '#/c/mine/blog'],
    ['/counter/a/b/c', '#/lost'],
    ['/elsewhere', '#/lost'],
  ])('%s', (path, hash) => expect(hashOfPath(path)).toBe(hash))
})

describe('the chart', () => {
  const points = [
    { time: 60_000, value: 5, change: 5 },
    { time: 120_000, value: 7, change: 2 },
  ]

  it('ends with the count that is shown', () => {
    expect(follow(points, 'minute', 9).at(-1)).toMatchObject({ value: 9, change: 4, set: 0 })
    expect(follow(points, 'minute', 7)).toMatchObject(points)
    expect(follow(points, 'minute', null)).toMatchObject(points)
    expect(follow([], 'minute', 7)).toEqual([])
  })

  it('shows the newest points', () => {
    const many = Array.from({ length: 100 }, (_, time) => ({ time, value: time, change: 1 }))
    expect(follow(many, 'minute', 99)[0].time).toBe(40)
  })

  it('knows where the count was set, and by how much', () => {
    const set = [...points, { time: 180_000, value: 103, change: 3 }]
    expect(follow(set, 'minute', null).map((point) => point.set)).toEqual([0, 0, 93])
    expect(follow(set, 'minute', 104).at(-1)).toMatchObject({ value: 104, change: 4, set: 93 })
  })

  it.each(Object.entries(SHOWN))('has its whole window in the resolution %s', (name, length) => {
    const whole = fillWindow(follow(points, name, null), name)
    expect(whole).toHaveLength(length)
    const steps = whole.slice(1).map(({ time }, index) => time - whole[index].time)
    expect(new Set(steps.slice(0, -1)).size).toBe(1)
    expect(whole[0]).toMatchObject({ change: 0, value: null })
    expect(whole.slice(-3)).toMatchObject([{ value: 0, change: 0 }, ...points])
  })

  it('has no count below or above what was measured, and bars from 0', () => {
    const high = [
      { value: null, change: 0 },
      { value: 1_000_007, change: 7 },
      { value: 1_000_009, change: 2 },
    ]
    expect(limits(high).value).toEqual({ min: 1_000_007, max: 1_000_009 })
    expect(limits(high).change.min).toBe(0)
    expect(limits([{ value: 42, change: 0 }]).value).toEqual({ min: 42, max: 43 })
    expect(limits([{ value: -3, change: -2 }]).change.min).toBe(-2)
  })

  it('fills the area below the count only where it is read from 0', () => {
    const fill = (min, max) =>
      datasets(document.createElement('canvas'))[1].fill({
        chart: { options: { scales: { value: { min, max } } } },
      })
    expect(fill(0, 9)).toBe('origin')
    expect(fill(-5, 9)).toBe('origin')
    expect(fill(1_000, 1_009)).toBe(false)
  })

  it('has a curve that overshoots nothing', () => {
    const [, count] = datasets(document.createElement('canvas'))
    expect(count.cubicInterpolationMode).toBe('monotone')
  })

  it('is summed up', () => {
    expect(total(points)).toBe(7)
    expect(busiest(points).time).toBe(60_000)
  })
})

describe('the newest hits', () => {
  const earlier = [
    { time: 0, value: 3, change: 3 },
    { time: 60_000, value: 3, change: 0 },
    { time: 120_000, value: 5, change: 2 },
  ]

  it('begin with the minutes before in which something was counted', () => {
    expect(newest([], earlier).map(({ at, change }) => [at, change])).toEqual([
      [120_000, 2],
      [0, 3],
    ])
  })

  it('tell of no hit twice', () => {
    const hits = [{ id: 1, at: 130_000, value: 5, change: 1, node: 'web-1' }]
    expect(newest(hits, earlier).map(({ at }) => at)).toEqual([130_000, 0])
  })

  it('are a few', () => {
    const many = Array.from({ length: 60 }, (_, time) => ({ time: time * 60_000, change: 1 }))
    expect(newest([], many)).toHaveLength(8)
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
    expect(pageUrl('https://here', key)).toBe('https://here/counter/mine/visits')
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
