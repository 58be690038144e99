// The admin keys that the page knows, [{admin, counters, fresh, saved, kept}], and what becomes of
// them. Pure.
//
// - counters: the names of what it made, for the one who is to save it.
// - fresh: made here, and not dismissed yet.
// - saved: taken away as a file.
// - kept: in the browser's storage.

// The service takes no shorter one for an owner's.
export const LEAST = 32

// Reads what the browser has kept; what is none of ours is left out.
export function readKept(text) {
  let found
  try {
    found = JSON.parse(text ?? '[]')
  } catch {
    return []
  }
  if (!Array.isArray(found)) return []
  return found
    .filter((admin) => typeof admin === 'string' && admin.length >= LEAST)
    .map((admin) => ({ admin, counters: [], fresh: false, saved: false, kept: true }))
}

export const writeKept = (keys) =>
  JSON.stringify(keys.filter(({ kept }) => kept).map(({ admin }) => admin))

// Adds a key, or adds to what is known of it. One that is dismissed already stays dismissed.
export function withKey(keys, admin, more = {}) {
  const { counters = [], ...rest } = more
  const known = keys.find((key) => key.admin === admin)
  if (known === undefined) {
    return [...keys, { admin, counters, fresh: false, saved: false, kept: false, ...rest }]
  }
  const merged = { ...known, counters: [...new Set([...known.counters, ...counters])] }
  return keys.map((key) => (key === known ? merged : key))
}

export const changed = (keys, admin, change) =>
  keys.map((key) => (key.admin === admin ? { ...key, ...change } : key))

// Whether a key is nowhere but in this page: to leave it would be to lose the key.
export const atRisk = ({ fresh, saved, kept }) => fresh && !saved && !kept

// What is written into the file that an owner takes away.
export function keyFile(origin, { admin, counters }) {
  const named = counters.map((name) => `${origin}/counter/${name}`)
  return [`counterapp ${origin}`, `admin key: ${admin}`, ...named, ''].join('\n')
}
