// Numbers and times as a language writes them.

const MOMENT = {
  minute: { hour: '2-digit', minute: '2-digit' },
  hour: { weekday: 'short', hour: '2-digit', minute: '2-digit' },
  // The service's days are those of UTC.
  day: { day: 'numeric', month: 'short', timeZone: 'UTC' },
}

export function formats(language) {
  // Spanish leaves four digits undivided by itself; a count that grows should not change its look.
  const numbers = new Intl.NumberFormat(language, { useGrouping: 'always' })
  const times = new Intl.DateTimeFormat(language, { timeStyle: 'medium' })
  const dates = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' })
  const moments = Object.fromEntries(
    Object.entries(MOMENT).map(([name, options]) => [
      name,
      new Intl.DateTimeFormat(language, options),
    ]),
  )
  return {
    number: (value) => (value === null ? '–' : numbers.format(value)),
    time: (value) => times.format(value),
    date: (text) => dates.format(new Date(text)),
    moment: (value, resolution) => moments[resolution].format(value),
  }
}
