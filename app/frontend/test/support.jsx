// What the tests have instead of a service: one of the same manners, which can be switched off.

import { configure, render } from '@testing-library/react'
import { StrictMode } from 'react'
import { vi } from 'vitest'

import { createClient } from '../src/api/client.js'
import { App } from '../src/App.jsx'
import { TextProvider } from '../src/i18n/text.jsx'
import { KeysProvider } from '../src/keys/keys.jsx'
import { createSources } from '../src/live/sources.js'
import { ThemeProvider } from '../src/theme.jsx'

// What a machine with much else to do can keep.
configure({ asyncUtilTimeout: 10_000 })

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
  owners = {} // the admin key of each counter that has one
  lost = 0 // how many answers to changes are lost on the way, from now on

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
    const answer = this.#answer(method, url, headers, body)
    if (method !== 'GET' && this.lost > 0) {
      this.lost -= 1
      throw new TypeError('network')
    }
    return answer
  }

  #answer(method, url, headers, body) {
    const [, key, rest] = url.match(/^\/api\/v1\/counters\/([^/?]+\/[^/?]+)(.*)$/) ?? []
    const admin = headers?.Authorization?.replace('Bearer ', '')
    if (url === '/api/v1/requests') return json(this.#shared())
    if (url.startsWith('/api/v1/import')) return this.take(body, admin)
    if (url.startsWith('/api/v1/export')) return new Response('namespace,key,value\r\n')
    if (key === undefined) return this.#counters(method, admin, body && JSON.parse(body))
    if (rest === '/hits') return json({ value: this.#hit(key, headers['Idempotency-Key']) })
    if (rest.startsWith('/history')) return json({ points: this.history(key) })
    if (rest === '/value') return this.#changed(key, admin, JSON.parse(body).value)
    if (method === 'DELETE') return this.#changed(key, admin)
    if (key in this.counters) return json(this.#counter(key))
    return json({ detail: 'There is no such counter.' }, 404)
  }

  #counters(method, admin, plan) {
    if (method === 'GET') {
      const mine = Object.keys(this.owners).filter((key) => this.owners[key] === admin)
      if (mine.length === 0) return json({ detail: 'No counter has this admin key.' }, 403)
      return json({ items: mine.map((key) => this.#counter(key)), next: null })
    }
    const key = `${plan.namespace}/${plan.key}`
    if (key in this.counters) return json({ detail: 'There is one.' }, 409)
    this.counters[key] = plan.value
    this.owners[key] = admin
    return json(this.#counter(key), 201)
  }

  #changed(key, admin, value) {
    if (this.owners[key] !== admin) return json({ detail: 'Not yours.' }, 403)
    if (value === undefined) {
      delete this.counters[key]
      delete this.owners[key]
      return new Response(null, { status: 204 })
    }
    this.counters[key] = value
    return json({ value })
  }

  // What an import comes to, for a test to say otherwise.
  take(body, admin) {
    for (const line of body.trim().split('\n').slice(1)) {
      const [namespace, key, value] = line.split(',')
      this.counters[`${namespace}/${key}`] = Number(value)
      this.owners[`${namespace}/${key}`] = admin
    }
    return json({ taken: body.trim().split('\n').length - 1, refused: [] })
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
    const [namespace, name] = key.split('/')
    const about = { step: 1, resettable: true, created: time, updated: time, expires: null }
    const owned = key in this.owners
    return { namespace, key: name, value: this.counters[key], owned, ...about, ...this.#facts }
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
          <KeysProvider>
            <App client={client} sources={createSources(client)} />
          </KeysProvider>
        </TextProvider>
      </ThemeProvider>
    </StrictMode>,
  )
}
