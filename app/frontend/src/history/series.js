// What the chart draws, from what the service answers. Pure.

// How many points the window of each resolution has: it is as wide for a young counter as for an
// old one.
export const SHOWN = { minute: 60, hour: 48, day: 365 }
export const RESOLUTIONS = Object.keys(SHOWN)

const LENGTH = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }

// The measured points, the last of them up to the value that the page shows right now, so that the
// chart never disagrees with the count. A value from before the points were asked for is left out.
// Each has, besides, by how much the counter was `set`: what its hits and updates do not explain.
export function follow(points, resolution, live) {
  const shown = points.map((point, index) => ({ ...point, set: setBy(points, index) }))
  const last = shown.at(-1)
  if (last !== undefined && live !== null && live !== last.value) {
    shown[shown.length - 1] = { ...last, value: live, change: last.change + live - last.value }
  }
  return shown.slice(-SHOWN[resolution])
}

function setBy(points, index) {
  if (index === 0) return 0 // Nobody knows what was before.
  const { value, change } = points[index]
  return value - change - points[index - 1].value
}

// The whole window that ends with the last point: before the counter was made, nothing was added,
// and there was no count but the one that it began with.
export function fillWindow(points, resolution) {
  const [first] = points
  const missing = SHOWN[resolution] - points.length
  const before = Array.from({ length: missing }, (_, index) => ({
    time: first.time - (missing - index) * LENGTH[resolution],
    value: index === missing - 1 ? first.value - first.change : null,
    change: 0,
    set: 0,
  }))
  return [...before, ...points]
}

export function total(points) {
  return points.reduce((sum, { change }) => sum + change, 0)
}

export function busiest(points) {
  return points.reduce((most, point) => (point.change > most.change ? point : most))
}

// The ends of both axes. That of counts ends at what was measured: it must not promise numbers that
// the counter never had. Bars are compared by their length, so theirs begins at 0.
export function limits(points) {
  const values = points.map(({ value }) => value).filter((value) => value !== null)
  const least = Math.min(...values)
  return {
    change: { min: Math.min(0, ...points.map(({ change }) => change)), suggestedMax: 1 },
    value: { min: least, max: Math.max(least + 1, ...values) },
  }
}
