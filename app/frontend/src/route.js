// Which view an address shows. All views are behind '#', so that none is left by a load of the page;
// an address without, such as somebody writes into a letter, is taken for one with.

import { useSyncExternalStore } from 'react'

export const NAME = /^[A-Za-z0-9_.-]{3,64}$/

const FIXED = { '': 'home', 'new': 'make', 'mine': 'mine', 'import': 'import' }
const NAMED = { c: 'counter', new: 'make' }

export function parseRoute(hash) {
  const [first, ...rest] = hash.replace(/^#?\/?/, '').split('/')
  if (rest.length === 0 && Object.hasOwn(FIXED, first)) return { view: FIXED[first] }
  const [namespace, name, ...more] = rest
  const named = NAME.test(namespace) && NAME.test(name ?? '') && more.length === 0
  if (named && Object.hasOwn(NAMED, first)) return { view: NAMED[first], namespace, name }
  return { view: 'lost' }
}

export const counterHref = ({ namespace, name }) => `#/c/${namespace}/${name}`
export const makeHref = ({ namespace, name }) => `#/new/${namespace}/${name}`

// The hash for a path that the service answers with this page: /counter/blog is the counter `blog`
// of the default namespace, /counter/mine/blog that of another; null where the hash says it all.
export function hashOfPath(path) {
  if (path === '/' || path === '/index.html') return null
  const [, first, ...names] = path.split('/')
  if (first !== 'counter' || names.length > 2) return '#/lost'
  return names.length === 1 ? `#/c/default/${names[0]}` : `#/c/${names.join('/')}`
}

export function adoptPath() {
  const hash = hashOfPath(location.pathname)
  if (hash !== null) history.replaceState(null, '', `/${hash}`)
}

function subscribe(listener) {
  addEventListener('hashchange', listener)
  return () => removeEventListener('hashchange', listener)
}

export function useHash() {
  return useSyncExternalStore(subscribe, () => location.hash)
}
