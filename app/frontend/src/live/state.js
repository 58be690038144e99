// What the page knows of one counter, and the rules by which answers change it. Pure.
//
// Answers can overtake each other, and for some seconds after a failover a deposed primary can
// still give old ones. So a number only ever moves the way its hits move it, unless the service
// said that the counter was set, or keeps saying so for longer than any old answer can live.

// How long another number must be answered before it is believed unannounced, in milliseconds:
// longer than a deposed primary goes on answering (the replica set's election timeout, 10 s).
export const SETTLE = 15_000
export const NEWEST = 8

export const initialState = {
  value: null,
  details: null, // the last whole answer: nodes, rates, step, …
  status: 'connecting', // connecting | live | reconnecting | absent
  seen: null, // when the value was last confirmed, as a Date's milliseconds
  servedBy: null,
  release: null,
  setAt: null, // when the service said that the value was set, by the page's clock
  movedBackAt: null, // when the page last took a number against the direction of hits
  doubtedAt: null, // since when the service answers with such a number, unannounced
  streamed: null, // the stream's last value
  sets: 0, // how often the service said that somebody set the counter
  hits: [], // newest first: {id, value, change, node, at, own, single}
  visited: false, // whether the hit of this page load is in the number
  counting: false,
  notice: null, // what to tell a screen reader: {kind: 'counted' | 'lost' | 'refused', …}
}

export function isStale(state) {
  return state.value !== null && state.status !== 'live'
}

// Whether there is a history that can be asked for now: the shared counter is answered before its
// first hit, too, when it has none.
export function hasHistory({ status, value, details }) {
  return status === 'live' && (value !== 0 || details?.created !== undefined)
}

// Whether `value` is one that hits lead to from the value shown.
function isAhead(state, value) {
  const step = state.details?.step ?? 1
  return value !== null && (value - state.value) * Math.sign(step) >= 0
}

export function reducer(state, action) {
  switch (action.type) {
    case 'read':
      return read(state, action)
    case 'streamed':
      return streamed(state, action)
    case 'failed':
      return { ...state, status: 'reconnecting' }
    case 'resumed':
      return { ...state, status: 'connecting', streamed: null }
    case 'counting':
      return { ...state, counting: true, notice: null }
    case 'visited':
      // Told again where the page is come back to: it is listed already.
      if (state.visited) return confirmed(state, action)
      return listed({ ...confirmed(state, action), visited: true }, own(state, action))
    case 'counted': {
      const { value, servedBy } = action.answer
      const notice = { kind: 'counted', value, node: servedBy }
      const next = { ...confirmed(state, action), counting: false, notice }
      return listed(next, own(state, action))
    }
    case 'not-counted': {
      const kind = action.refused ? 'refused' : 'lost'
      return { ...state, counting: false, notice: { kind, detail: action.detail } }
    }
    default:
      throw new Error(`unknown action ${action.type}`)
  }
}

// `answer` is null where there is no such counter; `began` is when the page asked.
function read(state, { answer, began, now, at }) {
  const value = answer?.value ?? null
  const next = {
    ...state,
    servedBy: answer?.servedBy ?? state.servedBy,
    release: answer?.release ?? state.release,
  }
  const taken = {
    value,
    details: answer,
    status: answer === null ? 'absent' : 'live',
    seen: at,
    doubtedAt: null,
    setAt: state.setAt !== null && began >= state.setAt ? null : state.setAt,
  }
  if (state.value === null || isAhead(state, value)) return { ...next, ...taken }
  const announced = state.setAt !== null && began >= state.setAt
  const settled = state.doubtedAt !== null && now - state.doubtedAt >= SETTLE
  if (announced || settled) return { ...next, ...taken, movedBackAt: now }
  return { ...next, status: 'reconnecting', doubtedAt: state.doubtedAt ?? now }
}

function streamed(state, { value, node, first, now, at }) {
  const next = { ...state, streamed: value }
  // Nobody's hit: set, updated or removed. The next answer says what holds.
  if (!first && node === null) return { ...next, setAt: now, sets: state.sets + 1 }
  if (state.value !== null && isAhead(state, value)) next.value = value
  if (first) return next
  const change = state.streamed === null || value === null ? null : value - state.streamed
  return listed(next, { value, change, node, at, own: false, single: false })
}

// A hit of one's own, as its answer tells of it.
function own(state, { answer, at }) {
  const change = state.details?.step ?? 1
  return { value: answer.value, change, node: answer.servedBy, at, own: true, single: true }
}

// Lists a hit. Of a hit of one's own both its answer and the stream tell, in whichever order, and
// the stream tells in one message of those that a node counted together: these are one entry.
function listed(state, hit) {
  const known = hit.single && state.hits.find((other) => covers(other, hit))
  if (known) {
    const hits = state.hits.map((other) => (other === known ? { ...known, own: true } : other))
    return { ...state, hits }
  }
  const others = state.hits.filter((other) => !covers(hit, other))
  const id = 1 + Math.max(0, ...state.hits.map((other) => other.id))
  const all = [{ ...hit, id, own: hit.own || others.length < state.hits.length }, ...others]
  const hits = all.slice(0, NEWEST)
  // However many come after it: who looks for their own finds it.
  const newestOwn = all.find((other) => other.own)
  if (newestOwn && !hits.includes(newestOwn)) hits[NEWEST - 1] = newestOwn
  return { ...state, hits }
}

// Whether a message of the stream tells of the very hit that an answer told of.
function covers(message, { value, node, single }) {
  if (message.single || !single || message.node !== node) return false
  if (message.change === null) return message.value === value
  const back = (message.value - value) * Math.sign(message.change)
  return back >= 0 && back < Math.abs(message.change)
}

function confirmed(state, { answer, began, at }) {
  const next = { ...state, servedBy: answer.servedBy, release: answer.release }
  // Counted before the counter was set: its value is none that the counter still had.
  if (state.movedBackAt !== null && began < state.movedBackAt) return next
  if (state.value !== null && !isAhead(state, answer.value)) return next
  return { ...next, value: answer.value, status: 'live', seen: at }
}
