// Making a counter for sure, though an answer may be lost on the way.

import { Unreachable } from './errors.js'
import { persist } from './persist.js'

// Makes the counter of `plan`, whose names must be in it, under the key `admin`. The page makes both
// up, and not the service, so that no lost answer can make a counter whose key nobody knows.
// `onUnsure` is called when nobody can say whether it is there by now; then it is tried again.
export function makeSurely(client, plan, admin, onUnsure) {
  let unsure = false
  return persist(
    async () => {
      try {
        return await client.create(plan, admin)
      } catch (error) {
        if (!unsure || error.status !== 409) throw error
        const mine = await findOwned(client, plan, admin)
        if (mine === null) throw error
        return mine
      }
    },
    (error) => {
      if (error instanceof Unreachable && !unsure) onUnsure()
      unsure = true
    },
  )
}

async function findOwned(client, { namespace, key }, admin) {
  let after = null
  do {
    const { items, next } = await ownedPage(client, admin, after)
    const found = items.find((item) => item.namespace === namespace && item.key === key)
    if (found) return found
    after = next
  } while (after !== null)
  return null
}

// A key that owns nothing is refused.
async function ownedPage(client, admin, after) {
  try {
    return await client.owned(admin, after)
  } catch (error) {
    if (error.status === 403) return { items: [], next: null }
    throw error
  }
}
