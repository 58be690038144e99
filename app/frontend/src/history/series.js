// What the charts draw, from what the service answers. Pure.

// How many of the newest points are shown.
export const SHOWN = { minute: 60, hour: 48, day: 90 }
export const RESOLUTIONS = Object.keys(SHOWN)

// The newest points, the last of them up to the value that the page shows right now, so that the
// chart never disagrees with the count. A value from before the points were asked for is left out.
export function follow(points, resolution, live) {
  const shown = points.slice(-SHOWN[resolution])
  const last = shown.at(-1)
  if (last === undefined || live === null || live === last.value) return shown
  const change = last.change + live - last.value
  return [...shown.slice(0, -1), { ...last, value: live, change }]
}

export function total(points) {
  return points.reduce((sum, { change }) => sum + change, 0)
}

export function busiest(points) {
  return points.reduce((most, point) => (point.change > most.change ? point : most))
}
