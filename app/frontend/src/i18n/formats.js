// Numbers and times as a language writes them.

const MOMENT = {
  minute: { hour: '2-digit', minute: '2-digit' },
  hour: { weekday: 'short', hour: '2-digit', minute: '2-digit' },
  // The service's days are those of UTC.
  day: { day: 'numeric', month: 'short', timeZone: 'UTC' },
}

// A point of the history by itself, where no neighbour says of which day or year it is.
const PERIOD = {
  minute: { dateStyle: 'medium', timeStyle: 'short' },
  hour: { dateStyle: 'medium', timeStyle: 'short' },
  day: { day: 'numeric', month: 'short', year: 'numeric', timeZone: 'UTC', timeZoneName: 'short' },
}

const each = (language, all) =>
  Object.fromEntries(
    Object.entries(all).map(([name, options]) => [name, new Intl.DateTimeFormat(language, options)]),
  )

export function formats(language) {
  // Spanish leaves four digits undivided by itself; a count that grows should not change its look.
  const numbers = new Intl.NumberFormat(language, { useGrouping: 'always' })
  const times = new Intl.DateTimeFormat(language, { timeStyle: 'medium' })
  const dates = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' })
  const changes = new Intl.NumberFormat(language, {
    useGrouping: 'always',
    signDisplay: 'exceptZero',
  })
  const moments = each(language, MOMENT)
  const periods = each(language, PERIOD)
  return {
    number: (value) => (value === null ? '–' : numbers.format(value)),
    signed: (value) => changes.format(value),
    time: (value) => times.format(value),
    date: (text) => dates.format(new Date(text)),
    moment: (value, resolution) => moments[resolution].format(value),
    period: (value, resolution) => periods[resolution].format(value),
  }
}
