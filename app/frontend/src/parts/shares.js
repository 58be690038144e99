// [{node, count, share}] by name; share is the part of the largest, for the length of a bar.
export function shares(nodes) {
  const largest = Math.max(1, ...Object.values(nodes).map(Math.abs))
  return Object.entries(nodes)
    .sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }))
    .map(([node, count]) => ({ node, count, share: Math.abs(count) / largest }))
}
