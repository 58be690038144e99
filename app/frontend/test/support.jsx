// What the tests have instead of a service: one of the same manners, which can be switched off.

import { render } from '@testing-library/react'
import { StrictMode } from 'react'
import { vi } from 'vitest'

import { createClient } from '../src/api/client.js'
import { App } from '../src/App.jsx'
import { TextProvider } from '../src/i18n/text.jsx'
import { createSources } from '../src/live/sources.js'
import { ThemeProvider } from '../src/theme.jsx'

export function json(body, status = 200) {
  const headers = { 'X-Served-By': 'web-1', 'X-Release': '1.2.3' }
  return new Response(JSON.stringify(body), { status, headers })
}

export class Service {
  counters = { 'default/shared': 41 }
  down = false
  asked = []
  streams = []
  seen = new Map()

  constructor() {
    const service = this
    this.EventSource = class extends EventTarget {
      static CLOSED = 2
      readyState = 1
      constructor(url) {
        super()
        this.url = url
        service.streams.push(this)
        queueMicrotask(() => {
          this.onopen?.()
          this.send({ value: service.counters[url.replace('/stream/', '')], node: null })
        })
      }
      send(data) {
        this.onmessage?.({ data: JSON.stringify(data) })
      }
      close() {
        this.readyState = 2
      }
    }
  }

  get posts() {
    return this.asked.filter(({ method }) => method === 'POST').length
  }

  fetch = async (url, { method, headers, body }) => {
    this.asked.push({ url, method, headers, body })
    if (this.down) throw new TypeError('network')
    const [, key, rest] = url.match(/^\/api\/v1\/counters\/([^/?]+\/[^/?]+)(.*)$/) ?? []
    if (url === '/api/v1/requests') return json(this.#shared())
    if (rest === '/hits') return json({ value: this.#hit(key, headers['Idempotency-Key']) })
    if (rest?.startsWith('/history')) return json({ points: this.history(key) })
    if (key in this.counters) return json(this.#counter(key))
    return json({ detail: 'There is no such counter.' }, 404)
  }

  history(key) {
    return [{ time: '2026-11-22T10:00:00Z', value: this.counters[key] ?? 0, change: 1 }]
  }

  #hit(key, id) {
    if (!this.seen.has(id)) {
      this.counters[key] = (this.counters[key] ?? 0) + 1
      this.seen.set(id, this.counters[key])
    }
    return this.seen.get(id)
  }

  #facts = { nodes: { 'web-1': 40, 'web-2': 1 }, rates: { minute: 2.4, hour: 30, day: 41 } }

  #shared() {
    return { total: this.counters['default/shared'], ...this.#facts }
  }

  #counter(key) {
    const time = '2026-11-22T10:00:00Z'
    const about = { step: 1, owned: true, created: time, updated: time, expires: null }
    return { value: this.counters[key], ...about, ...this.#facts }
  }
}

export function show(service, hash = '') {
  location.hash = hash
  vi.stubGlobal('EventSource', service.EventSource)
  vi.stubGlobal('matchMedia', () => Object.assign(new EventTarget(), { matches: false }))
  vi.stubGlobal('scrollTo', () => {})
  const client = createClient({ fetch: service.fetch })
  render(
    <StrictMode>
      <ThemeProvider>
        <TextProvider>
          <App client={client} sources={createSources(client)} />
        </TextProvider>
      </ThemeProvider>
    </StrictMode>,
  )
}
