import { createContext, use, useEffect, useMemo, useState } from 'react'

import { recall, remember } from '../storage.js'
import { atRisk, changed, readKept, withKey, writeKept } from './list.js'

const KeysContext = createContext(null)

// {keys, latest, made, known, keep, saved, dismiss, forget}: the admin keys of list.js. They outlive
// each view, and a window with one that is nowhere else asks before it closes.
export const useKeys = () => use(KeysContext)

export function KeysProvider({ children }) {
  const [keys, setKeys] = useState(() => readKept(recall('keys')))

  const risky = keys.some(atRisk)
  useEffect(() => {
    if (!risky) return undefined
    const ask = (event) => event.preventDefault()
    addEventListener('beforeunload', ask)
    return () => removeEventListener('beforeunload', ask)
  }, [risky])

  const value = useMemo(() => {
    // Another window may have kept or forgotten some meanwhile.
    function store(admin, kept) {
      const others = readKept(recall('keys')).filter((key) => key.admin !== admin)
      return remember('keys', writeKept(kept ? [...others, { admin, kept }] : others))
    }
    return {
      keys,
      // What is made next belongs to the key that is there already, if there is one.
      latest: keys.at(-1)?.admin ?? '',
      // `fresh` is whether the key itself is new, and so has to be saved.
      made: (admin, counters, fresh) => setKeys((all) => withKey(all, admin, { counters, fresh })),
      known: (admin) => setKeys((all) => withKey(all, admin)),
      // Whether it could be done.
      keep(admin, kept) {
        if (!store(admin, kept)) return false
        setKeys((all) => changed(all, admin, { kept }))
        return true
      },
      saved: (admin) => setKeys((all) => changed(all, admin, { saved: true })),
      dismiss: (admin) => setKeys((all) => changed(all, admin, { fresh: false })),
      forget(admin) {
        store(admin, false)
        setKeys((all) => all.filter((key) => key.admin !== admin))
      },
    }
  }, [keys])
  return <KeysContext value={value}>{children}</KeysContext>
}
