import { cleanup, screen, waitFor, within } from '@testing-library/react'
import userEvent from '@testing-library/user-event'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import { atRisk, keyFile, readKept, withKey, writeKept } from '../src/keys/list.js'
import { json, Service, show } from './support.jsx'

vi.mock('../src/history/Chart.jsx', () => ({ default: () => null }))

let service
let user

beforeEach(() => {
  service = new Service()
  localStorage.clear()
  vi.useFakeTimers({ shouldAdvanceTime: true })
  user = userEvent.setup({ advanceTimers: vi.advanceTimersByTime })
  URL.createObjectURL = vi.fn(() => 'blob:x')
  URL.revokeObjectURL = vi.fn()
  HTMLAnchorElement.prototype.click = vi.fn()
})

afterEach(() => {
  cleanup()
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

const press = (name) => user.click(screen.getByRole('button', { name }))
async function fill(label, text) {
  const field = screen.getByLabelText(label)
  await user.clear(field)
  await user.click(field)
  if (text) await user.paste(text)
}
const freshKey = () => screen.queryByTestId('admin-key')?.value ?? null
const go = async (hash, heading) => {
  location.hash = hash
  await screen.findByRole('heading', { name: heading, level: 1 })
}

// Whether the browser would ask before the page is left.
function asksToStay() {
  const leaving = new Event('beforeunload', { cancelable: true })
  dispatchEvent(leaving)
  return leaving.defaultPrevented
}

async function make(namespace, name) {
  await go('#/new', 'Make a counter')
  await fill('Namespace', namespace)
  await fill('Name', name)
  await press('Make it')
  await screen.findByRole('heading', { name: `${namespace}/${name} is made` })
}

async function bring(text) {
  await fill('Or its content', text)
  await press('Import')
}

describe('a new admin key', () => {
  it('stays through every click until it is dismissed, and that is asked for', async () => {
    show(service, '#/new')
    await make('mine', 'visits')
    const admin = service.owners['mine/visits']
    expect(admin).toMatch(/^[0-9a-f]{32}$/)
    expect(freshKey()).toBe(admin)
    await press('Make another')
    expect(freshKey()).toBe(admin)
    await go('#/mine', 'My counters')
    expect(freshKey()).toBe(admin)
    expect(asksToStay()).toBe(true)
    await press('I have it')
    expect(freshKey()).toBe(admin)
    await press('Cancel')
    expect(freshKey()).toBe(admin)
    await press('I have it')
    await press('Put it away')
    expect(freshKey()).toBe(null)
    expect(asksToStay()).toBe(false)
  })

  it('may be downloaded, and is safe then', async () => {
    show(service, '#/new')
    await make('mine', 'visits')
    await press('Download it')
    const [blob] = URL.createObjectURL.mock.calls[0]
    expect(blob.type).toBe('text/plain')
    expect(asksToStay()).toBe(false)
    await press('I have it')
    expect(freshKey()).toBe(null)
  })

  it('is kept in the browser only when that is asked for', async () => {
    show(service, '#/new')
    await make('mine', 'visits')
    expect(localStorage.getItem('keys')).toBe(null)
    await user.click(screen.getByLabelText('Keep the key in this browser'))
    expect(JSON.parse(localStorage.getItem('keys'))).toEqual([service.owners['mine/visits']])
    expect(asksToStay()).toBe(false)
    await user.click(screen.getByLabelText('Keep the key in this browser'))
    expect(localStorage.getItem('keys')).toBe('[]')
    expect(asksToStay()).toBe(true)
  })

  it('is not said to be kept where the browser keeps nothing', async () => {
    show(service, '#/new')
    await make('mine', 'visits')
    vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
      throw new Error('quota')
    })
    await user.click(screen.getByLabelText('Keep the key in this browser'))
    expect(screen.getByText('This browser keeps nothing for this page.')).toBeTruthy()
    expect(screen.getByLabelText('Keep the key in this browser').checked).toBe(false)
    expect(asksToStay()).toBe(true)
  })

  it('owns what is made next as well', async () => {
    show(service, '#/new')
    await make('mine', 'first')
    await press('Make another')
    await make('mine', 'second')
    expect(service.owners['mine/second']).toBe(service.owners['mine/first'])
    expect(screen.getAllByTestId('admin-key')).toHaveLength(1)
    expect(screen.getByText('mine/first, mine/second')).toBeTruthy()
  })

  it('is known, and owns the counter, though the answer was lost', async () => {
    show(service, '#/new')
    service.lost = 1
    await make('mine', 'visits')
    expect(freshKey()).toBe(service.owners['mine/visits'])
  })

  it('is not made up for a counter that was another’s before', async () => {
    service.counters['mine/taken'] = 1
    show(service, '#/new')
    await go('#/new/mine/taken', 'Make a counter')
    await press('Make it')
    await screen.findByText('There is a counter of this name already.')
    expect(freshKey()).toBe(null)
  })

  it('is shown while nobody can say whether the counter is there', async () => {
    show(service, '#/new/mine/visits')
    service.lost = 1_000
    await press('Make it')
    await waitFor(() => expect(freshKey()).toBe(service.owners['mine/visits']))
    expect(asksToStay()).toBe(true)
  })
})

describe('an import', () => {
  it('that fails keeps the key of the one before, and the next one uses it', async () => {
    show(service, '#/import')
    await bring('namespace,key,value\nold,first,1\n')
    await screen.findByText('Imported: 1. Not taken: 0.')
    const admin = service.owners['old/first']
    expect(freshKey()).toBe(admin)
    service.down = true
    await bring('namespace,key,value\nold,second,2\n')
    await screen.findByText(/The service does not answer/)
    expect(freshKey()).toBe(admin)
    service.down = false
    await bring('namespace,key,value\nold,second,2\n')
    await waitFor(() => expect(service.owners['old/second']).toBe(admin))
    expect(screen.getAllByTestId('admin-key')).toHaveLength(1)
  })

  it('shows the key of what may have been taken before the answer was lost', async () => {
    show(service, '#/import')
    service.lost = 1
    await bring('namespace,key,value\nold,first,1\n')
    await screen.findByText(/The service does not answer/)
    expect(freshKey()).toBe(service.owners['old/first'])
  })

  it('of which nothing was taken makes no key', async () => {
    service.take = () => json({ taken: 0, refused: [{ record: 1, text: 'a', reason: 'no' }] })
    show(service, '#/import')
    await bring('a')
    await screen.findByText('Imported: 0. Not taken: 1.')
    expect(freshKey()).toBe(null)
  })

  it('names line and text of what was not taken', async () => {
    const refused = [
      { record: 1, line: 3, text: 'old,a b,1', reason: '"key" must be …' },
      { record: 2, text: '{"value": 1}', reason: '"key" is missing' },
    ]
    service.take = () => json({ taken: 0, refused })
    show(service, '#/import')
    await bring('x')
    const list = await screen.findByRole('list', { name: 'Not taken' })
    const told = within(list).getAllByRole('listitem').map((item) => item.textContent)
    expect(told[0]).toBe('Line 3: old,a b,1 "key" must be …')
    expect(told[1]).toBe('No. 2: {"value": 1} "key" is missing')
  })
})

describe('my counters', () => {
  const ADMIN = 'a'.repeat(32)

  beforeEach(() => {
    service.counters['mine/visits'] = 1_234
    service.owners['mine/visits'] = ADMIN
  })

  async function open() {
    show(service, '#/mine')
    await fill('Admin key', ADMIN)
    await press('Show them')
    await screen.findByText('1,234')
  }

  it('are those of a key, which the page forgets by itself', async () => {
    await open()
    expect(screen.getByRole('link', { name: 'mine/visits' }).getAttribute('href')).toBe('#/c/mine/visits')
    expect(document.body.textContent).not.toContain(ADMIN)
    expect(localStorage.getItem('keys')).toBe(null)
    cleanup()
    show(service, '#/mine')
    expect(screen.queryByTestId('owned')).toBe(null)
  })

  it('are there at the next visit where the key was to be kept', async () => {
    show(service, '#/mine')
    await fill('Admin key', ADMIN)
    await user.click(screen.getByLabelText('Keep the key in this browser'))
    await press('Show them')
    await screen.findByText('1,234')
    cleanup()
    show(service, '#/mine')
    await screen.findByText('1,234')
    await press('Forget this key')
    await user.click(screen.getAllByRole('button', { name: 'Forget this key' }).at(-1))
    expect(screen.queryByTestId('owned')).toBe(null)
    expect(localStorage.getItem('keys')).toBe('[]')
  })

  it('are set to what is filled in, once that is a number', async () => {
    await open()
    await press('Set mine/visits')
    await fill('New count', '1e3')
    await press('Set')
    expect(screen.getByText(/A whole number from/)).toBeTruthy()
    await fill('New count', '42')
    await user.keyboard('{Enter}')
    await screen.findByText('42')
    expect(service.counters['mine/visits']).toBe(42)
  })

  it.each([
    ['Reset', 0],
    ['Delete', undefined],
  ])('are changed only after a question: %s', async (action, value) => {
    await open()
    await press(`${action} mine/visits`)
    await user.keyboard('{Enter}')
    await press(`${action} mine/visits`)
    await user.keyboard('{Escape}')
    expect(service.counters['mine/visits']).toBe(1_234)
    await press(`${action} mine/visits`)
    await press(action)
    await waitFor(() => expect(service.counters['mine/visits']).toBe(value))
    await waitFor(() => expect(screen.queryByText('1,234')).toBe(null))
  })

  it('say what went wrong, and stay as they are', async () => {
    await open()
    await press('Reset mine/visits')
    service.owners['mine/visits'] = 'another'
    await press('Reset')
    await screen.findByText('This is not the right admin key.')
    expect(service.counters['mine/visits']).toBe(1_234)
  })

  it('are exported', async () => {
    await open()
    await press('Export')
    await waitFor(() => expect(URL.createObjectURL).toHaveBeenCalled())
    const asked = service.asked.find(({ url }) => url.includes('/export'))
    expect(asked.headers.Authorization).toBe(`Bearer ${ADMIN}`)
  })

  it('are none of a key that is too short, or that owns none', async () => {
    show(service, '#/mine')
    await fill('Admin key', 'short')
    await user.keyboard('{Enter}')
    expect(screen.getByText('An admin key has at least 32 characters.')).toBeTruthy()
    await fill('Admin key', 'b'.repeat(32))
    await user.keyboard('{Enter}')
    await screen.findByText('No counter has this key.')
  })

  it('can be one that somebody looked for and that is not there yet', async () => {
    show(service, '#/c/mine/fresh')
    await user.click(await screen.findByRole('link', { name: 'Make this counter' }))
    await screen.findByRole('heading', { name: 'Make a counter' })
    expect(screen.getByLabelText('Namespace').value).toBe('mine')
    expect(screen.getByLabelText('Name').value).toBe('fresh')
  })
})

describe('the list of keys', () => {
  const ADMIN = 'a'.repeat(32)

  it.each([null, 'nonsense', '{}', '["short", 7]'])('reads nothing from %s', (text) => {
    expect(readKept(text)).toEqual([])
  })

  it('reads what it wrote, and writes what is to be kept', () => {
    const keys = withKey(readKept(JSON.stringify([ADMIN])), 'b'.repeat(32), { fresh: true })
    expect(writeKept(keys)).toBe(JSON.stringify([ADMIN]))
    expect(keys.map(atRisk)).toEqual([false, true])
  })

  it('makes a file that says what the key is for', () => {
    const [entry] = withKey([], ADMIN, { counters: ['mine/visits'] })
    expect(keyFile('https://here', entry)).toBe(
      `counterapp https://here\nadmin key: ${ADMIN}\nhttps://here/counter/mine/visits\n`,
    )
  })
})
