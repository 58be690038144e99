import { cleanup, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { REFRESH } from '../src/live/watch.js'
import { Service, show } from './support.jsx'

// jsdom has no canvas; what the charts draw is looked at in Chromium.
vi.mock('../src/history/Chart.jsx', () => ({
  default: ({ summary, words, points }) => (
    <p>
      {summary} {JSON.stringify(words.tip(points.length - 1))}
    </p>
  ),
}))

const shown = (id) => screen.getByTestId(id).textContent
const status = () => screen.getByTestId('status').dataset.status
const press = (name) =>
  userEvent.setup({ advanceTimers: vi.advanceTimersByTime }).click(screen.getByRole('button', { name }))

let service

beforeEach(() => {
  service = new Service()
  localStorage.clear()
  vi.useFakeTimers({ shouldAdvanceTime: true })
})

afterEach(() => {
  cleanup()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('the shared counter', () => {
  it('counts the visit exactly once, even when mounted twice', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    await vi.advanceTimersByTimeAsync(3 * REFRESH)
    expect(service.posts).toBe(1)
    expect(screen.getByTestId('count').dataset.value).toBe('42')
    expect(document.title).toBe('42 · counterapp')
    expect(screen.getByText(/Your visit is one of them/)).toBeTruthy()
  })

  it('says who answered, which release, how fast, and how the servers share', async () => {
    show(service)
    expect(status()).toBe('connecting')
    expect(shown('count')).toBe('–')
    await waitFor(() => expect(status()).toBe('live'))
    expect(shown('served-by')).toBe('web-1')
    expect(shown('release')).toBe('1.2.3')
    expect(shown('rate-minute')).toBe('2')
    expect(screen.getByText('web-2')).toBeTruthy()
    expect(await screen.findByText(/Chart of the last 60 minutes: 1 added in all/)).toBeTruthy()
    expect(screen.getByText(/"change":"\+1 in this minute","value":"Count at its end: 4/)).toBeTruthy()
  })

  it('counts again at the press of the button', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    await press('Count again')
    await waitFor(() => expect(shown('count')).toBe('43'))
    expect(screen.getByText('Counted. 43 hits, answered by web-1.')).toBeTruthy()
    expect(service.posts).toBe(2)
  })

  it('says what the service is, with an example that works and a badge that keeps up', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    expect(screen.getByRole('heading', { level: 1 }).textContent).toBe('Count the visits to anything')
    expect(screen.getByRole('textbox', { name: 'Paste this into a README' }).value).toBe(
      `![hits](${location.origin}/badge/my-site/my-page.svg?hit=1)`,
    )
    const badge = () => new URL(screen.getByTestId('badge').src)
    expect(badge().pathname).toBe('/badge/default/shared.svg')
    expect(badge().searchParams.get('hit')).toBe(null)
    const before = badge().href
    await press('Count again')
    await waitFor(() => expect(badge().href).not.toBe(before))
    expect(screen.getByRole('link', { name: 'API' }).getAttribute('href')).toBe('/api/v1/openapi.json')
  })

  it('lists its own visit, and what was counted before it', async () => {
    service.history = () => [{ time: '2026-11-22T09:00:00Z', value: 41, change: 3 }]
    show(service)
    const list = await screen.findByTestId('newest')
    await waitFor(() => expect(within(list).getByText(/yours/)).toBeTruthy())
    await waitFor(() => expect(within(list).getByText('in that minute')).toBeTruthy())
    expect(within(list).getAllByRole('listitem').map((item) => item.dataset.own)).toEqual([
      'true',
      undefined,
    ])
  })

  it('shows the hits of others the moment they arrive', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    await waitFor(() => expect(service.streams.at(-1).readyState).toBe(1))
    service.counters['default/shared'] = 1045
    service.streams.at(-1).send({ value: 1045, node: 'web-2' })
    await waitFor(() => expect(shown('count')).toBe('1,045'))
    expect(within(screen.getByTestId('newest')).getByText('through web-2')).toBeTruthy()
  })

  it('says reconnecting, keeps the number as stale, and comes back by itself', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    service.down = true
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(status()).toBe('reconnecting'))
    expect(shown('count')).toBe('42')
    expect(screen.getByText(/The last number we know of/)).toBeTruthy()
    service.down = false
    service.counters['default/shared'] = 50
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(status()).toBe('live'))
    expect(shown('count')).toBe('50')
  })

  it('counts a hit once through an outage', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    service.down = true
    await press('Count again')
    await vi.advanceTimersByTimeAsync(3_000)
    expect(status()).toBe('reconnecting')
    service.down = false
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(shown('count')).toBe('43'))
    await vi.advanceTimersByTimeAsync(REFRESH)
    expect(service.counters['default/shared']).toBe(43)
  })

  it('shows no lower number on coming back to it', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    location.hash = '#/new'
    await screen.findByRole('heading', { name: 'Make a counter' })
    service.counters['default/shared'] = 40
    location.hash = '#/'
    await waitFor(() => expect(status()).toBe('reconnecting'))
    expect(shown('count')).toBe('42')
  })

  it('rests while nobody looks', async () => {
    show(service)
    await waitFor(() => expect(shown('count')).toBe('42'))
    const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true)
    document.dispatchEvent(new Event('visibilitychange'))
    expect(service.streams.at(-1).readyState).toBe(2)
    service.counters['default/shared'] = 60
    await vi.advanceTimersByTimeAsync(3 * REFRESH)
    expect(shown('count')).toBe('42')
    hidden.mockReturnValue(false)
    document.dispatchEvent(new Event('visibilitychange'))
    await waitFor(() => expect(shown('count')).toBe('60'))
  })
})

describe('the page of a counter', () => {
  it('says that there is none, and lets the first hit make it', async () => {
    show(service, '#/c/mine/visits')
    await waitFor(() => expect(status()).toBe('absent'))
    expect(service.posts).toBe(0)
    await press('Count a hit')
    await waitFor(() => expect(shown('count')).toBe('1'))
    await waitFor(() => expect(screen.getByText('Use it')).toBeTruthy())
  })

  it('offers a badge that counts, and shows it without counting', async () => {
    service.counters['mine/visits'] = 9
    show(service, '#/c/mine/visits')
    const counts = await screen.findByRole('checkbox', { name: 'Count each view' })
    const markdown = () => screen.getByLabelText('Badge in Markdown').value
    expect(markdown()).not.toContain('hit=1')
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime })
    await user.click(counts)
    await user.selectOptions(screen.getByRole('combobox', { name: 'Number written as' }), '1.2M')
    expect(markdown()).toMatch(/mine\/visits\.svg\?.*&abbreviated=true&hit=1\)$/)
    expect(screen.getByText(/those views are not counted/)).toBeTruthy()
    const { src } = screen.getByRole('img', { name: 'Badge with the count of mine/visits' })
    expect(src).toContain('abbreviated=true')
    expect(src).not.toContain('hit=1')
    await user.click(counts)
    expect(markdown()).not.toContain('hit=1')
  })

  it('follows a reset that the service tells of', async () => {
    service.counters['mine/visits'] = 9
    show(service, '#/c/mine/visits')
    await waitFor(() => expect(shown('count')).toBe('9'))
    await screen.findByText(/Chart of the last/)
    const asked = () => service.asked.filter(({ url }) => url.includes('/history')).length
    const before = asked()
    service.counters['mine/visits'] = 0
    service.streams.at(-1).send({ value: 0, node: null })
    await waitFor(() => expect(shown('count')).toBe('0'))
    expect(status()).toBe('live')
    // What was added and what was set is for the service to tell apart.
    await waitFor(() => expect(asked()).toBe(before + 1))
  })
})

describe('the language', () => {
  it('is the browser’s, can be changed, and is remembered', async () => {
    vi.spyOn(navigator, 'languages', 'get').mockReturnValue(['es-ES', 'en'])
    show(service)
    expect(document.documentElement.lang).toBe('es')
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime })
    await user.selectOptions(screen.getByRole('combobox', { name: 'Idioma' }), 'en')
    expect(document.documentElement.lang).toBe('en')
    cleanup()
    show(service)
    expect(screen.getByRole('heading', { name: 'Hits of this page so far' })).toBeTruthy()
  })
})
