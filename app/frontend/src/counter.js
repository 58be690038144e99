// The page's state and the rules by which answers change it. Pure, so easy to test.

export const initialState = {
  count: null,
  nodes: {},
  servedBy: null,
  release: null,
  status: 'connecting', // connecting | live | reconnecting
  visited: false, // was this page load's own hit confirmed?
  counting: false,
  announcement: '',
}

export function reducer(state, action) {
  switch (action.type) {
    case 'answered':
      return { ...take(state, action.answer), status: 'live' }
    case 'visited':
      return { ...take(state, action.answer), status: 'live', visited: true }
    case 'failed':
      return { ...state, status: 'reconnecting' }
    case 'counting':
      return { ...state, counting: true, announcement: '' }
    case 'counted':
      return {
        ...take(state, action.answer),
        status: 'live',
        counting: false,
        announcement: `Counted. ${formatCount(action.answer.count)} hits, answered by ${action.answer.node}.`,
      }
    case 'not-counted':
      return {
        ...state,
        status: 'reconnecting',
        counting: false,
        announcement: 'The hit was not confirmed. Reconnecting.',
      }
    default:
      throw new Error(`unknown action ${action.type}`)
  }
}

// Answers can overtake each other. Only a hit raises the count, so the highest one is the newest.
function take(state, answer) {
  const next = { ...state, servedBy: answer.node, release: answer.release }
  if (state.count === null || answer.count >= state.count) {
    next.count = answer.count
    if (answer.nodes) next.nodes = answer.nodes
  }
  return next
}

const formatter = new Intl.NumberFormat('en')

export function formatCount(count) {
  return count === null ? '–' : formatter.format(count)
}

// [{node, count, share}] by name; share is the part of the largest, for the length of a bar.
export function shares(nodes) {
  const largest = Math.max(1, ...Object.values(nodes))
  return Object.entries(nodes)
    .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([node, count]) => ({ node, count, share: count / largest }))
}
