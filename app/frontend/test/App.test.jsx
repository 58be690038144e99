import { cleanup, render, screen, waitFor } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { StrictMode } from 'react'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { App } from '../src/App.jsx'
import { createClient } from '../src/client.js'
import { REFRESH } from '../src/useCounter.js'

// A back end of the same manners as the real one, which can be switched off.
class Backend {
  count = 41
  down = false
  node = 'web-1'
  posts = 0

  fetch = async (url, { method }) => {
    if (this.down) throw new TypeError('network')
    if (method === 'POST') {
      this.posts += 1
      this.count += 1
    }
    const body = { counter: 'shared', count: this.count, node: this.node, release: '1.2.3' }
    if (method === 'GET') body.nodes = { 'web-1': this.count - 1, 'web-2': 1 }
    return new Response(JSON.stringify(body))
  }
}

const shown = (id) => screen.getByTestId(id).textContent

function show(backend) {
  render(
    <StrictMode>
      <App client={createClient({ fetch: backend.fetch })} />
    </StrictMode>,
  )
}

let backend

beforeEach(() => {
  backend = new Backend()
  vi.useFakeTimers({ shouldAdvanceTime: true })
})

afterEach(() => {
  cleanup()
  vi.useRealTimers()
})

describe('the page', () => {
  it('counts the visit exactly once, even when mounted twice', async () => {
    show(backend)
    await waitFor(() => expect(shown('count')).toBe('42'))
    await vi.advanceTimersByTimeAsync(3 * REFRESH)
    expect(backend.posts).toBe(1)
    expect(shown('count')).toBe('42')
    expect(screen.getByTestId('count').dataset.value).toBe('42')
    expect(document.title).toBe('42 · counterapp')
  })

  it('says who answered, which release, and how the servers share', async () => {
    show(backend)
    expect(shown('status')).toBe('connecting')
    expect(shown('count')).toBe('–')
    await waitFor(() => expect(shown('status')).toBe('live'))
    expect(shown('served-by')).toBe('web-1')
    expect(shown('release')).toBe('1.2.3')
    await waitFor(() => expect(screen.getAllByRole('listitem')).toHaveLength(2))
    expect(screen.getByText(/Your visit is one of them/)).toBeTruthy()
  })

  it('counts again at the press of the button', async () => {
    const user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime })
    show(backend)
    await waitFor(() => expect(shown('count')).toBe('42'))
    await user.click(screen.getByTestId('hit-button'))
    await waitFor(() => expect(shown('count')).toBe('43'))
    expect(screen.getByText('Counted. 43 hits, answered by web-1.')).toBeTruthy()
    expect(backend.posts).toBe(2)
  })

  it('takes up what others count, and who answers now', async () => {
    show(backend)
    await waitFor(() => expect(shown('count')).toBe('42'))
    backend.count = 1042
    backend.node = 'web-2'
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(shown('count')).toBe('1,042'))
    expect(shown('served-by')).toBe('web-2')
  })

  it('says reconnecting, keeps the number, and comes back by itself', async () => {
    show(backend)
    await waitFor(() => expect(shown('count')).toBe('42'))
    backend.down = true
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(shown('status')).toBe('reconnecting'))
    expect(shown('count')).toBe('42')
    backend.down = false
    backend.count = 50
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(shown('status')).toBe('live'))
    expect(shown('count')).toBe('50')
    expect(backend.posts).toBe(1)
  })

  it('never shows a lower number than before', async () => {
    show(backend)
    await waitFor(() => expect(shown('count')).toBe('42'))
    backend.count = 40
    await vi.advanceTimersByTimeAsync(2 * REFRESH)
    expect(shown('count')).toBe('42')
  })

  it('opens without a number when nobody answers, and does not claim a visit', async () => {
    backend.down = true
    show(backend)
    await waitFor(() => expect(shown('status')).toBe('reconnecting'))
    expect(shown('count')).toBe('–')
    backend.down = false
    await vi.advanceTimersByTimeAsync(REFRESH)
    await waitFor(() => expect(shown('count')).toBe('41'))
    expect(backend.posts).toBe(0)
    expect(screen.queryByText(/Your visit/)).toBeNull()
  })

  it('does not ask while nobody looks', async () => {
    show(backend)
    await waitFor(() => expect(shown('count')).toBe('42'))
    const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true)
    backend.count = 60
    await vi.advanceTimersByTimeAsync(3 * REFRESH)
    expect(shown('count')).toBe('42')
    hidden.mockReturnValue(false)
    document.dispatchEvent(new Event('visibilitychange'))
    await waitFor(() => expect(shown('count')).toBe('60'))
  })
})
