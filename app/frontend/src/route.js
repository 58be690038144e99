// Which view an address shows. Everything is behind '#': the service serves one page.

import { useSyncExternalStore } from 'react'

export const NAME = /^[A-Za-z0-9_.-]{3,64}$/

const FIXED = { '': 'home', 'new': 'make', 'move': 'move' }

export function parseRoute(hash) {
  const [first, ...rest] = hash.replace(/^#?\/?/, '').split('/')
  if (rest.length === 0 && Object.hasOwn(FIXED, first)) return { view: FIXED[first] }
  const [namespace, name, ...more] = rest
  if (first === 'c' && more.length === 0 && NAME.test(namespace) && NAME.test(name ?? '')) {
    return { view: 'counter', namespace, name }
  }
  return { view: 'lost' }
}

export const counterHref = ({ namespace, name }) => `#/c/${namespace}/${name}`

function subscribe(listener) {
  addEventListener('hashchange', listener)
  return () => removeEventListener('hashchange', listener)
}

export function useHash() {
  return useSyncExternalStore(subscribe, () => location.hash)
}
