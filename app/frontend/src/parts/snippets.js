// What one copies to use a counter elsewhere. Names need no escaping: NAME allows nothing special.

export const BADGE_STYLES = ['flat', 'flat-square', 'plastic', 'for-the-badge', 'social']

// The address of the counter's page, as one gives it to others.
export const pageUrl = (origin, { namespace, name }) => `${origin}/counter/${namespace}/${name}`

export function pageSnippet(origin, { namespace, name }) {
  return `<span id="hits"></span>
<script>
  fetch('${origin}/hit/${namespace}/${name}')
    .then((response) => response.json())
    .then(({ value }) => { document.getElementById('hits').textContent = value })
</script>`
}

export function shellSnippet(origin, { namespace, name }) {
  return `curl -X POST ${origin}/api/v1/counters/${namespace}/${name}/hits`
}

// How a badge may write its number, by example.
export const NUMBER_FORMS = {
  '1234567': {},
  '1,234,567': { separator: ',' },
  '1.234.567': { separator: '.' },
  '1 234 567': { separator: ' ' },
  '1.2M': { abbreviated: true },
}

// What a badge looks like before anybody has chosen.
export const PLAIN = {
  label: 'hits',
  color: '#0f766e',
  style: 'flat',
  numbers: Object.keys(NUMBER_FORMS)[0],
  counts: false,
}

// The badge's address on this server. With `counts`, each request for it is a hit.
export function badgeUrl({ namespace, name }, { label, color, style, numbers, counts }) {
  const query = new URLSearchParams({
    label,
    color: color.replace('#', ''),
    style,
    ...NUMBER_FORMS[numbers],
    ...(counts && { hit: 1 }),
  })
  return `/badge/${namespace}/${name}.svg?${query}`
}

// The shortest that counts, for who has never seen one.
export const simplestBadge = ({ namespace, name }) => `/badge/${namespace}/${name}.svg?hit=1`

export function markdown(origin, label, url) {
  return `![${label.replace(/[[\]\\]/g, '\\$&')}](${origin}${url})`
}
