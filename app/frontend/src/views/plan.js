// From what somebody typed into the form to what the service is asked for. Pure.

import { NAME } from '../route.js'

const DAY = 24 * 3600
// The service's own limits.
const LARGEST = Number.MAX_SAFE_INTEGER
const LONGEST_DAYS = 36_600

export const EMPTY = {
  namespace: 'default',
  key: '',
  value: '0',
  step: '1',
  lower: '',
  upper: '',
  days: '',
  resettable: true,
}

// The number, or what is wrong with it: {key, values}.
export function readWhole(given, least = -LARGEST, most = LARGEST) {
  const text = given.trim()
  const value = Number(text)
  const good = /^[+-]?\d{1,16}$/.test(text) && value >= least && value <= most
  return good ? value : { key: 'problem.number', values: { least, most } }
}

// Returns {plan, problems}; `problems` has, by field, the key of a text and the values for it.
export function readPlan(form) {
  const plan = { resettable: form.resettable }
  const problems = {}

  for (const field of ['namespace', 'key']) {
    if (field === 'key' && form.key === '') continue
    if (NAME.test(form[field])) plan[field] = form[field]
    else problems[field] = { key: 'problem.name' }
  }

  function number(field, as, { least, most, factor = 1 } = {}) {
    if (form[field].trim() === '') return
    const value = readWhole(form[field], least, most)
    if (typeof value === 'number') plan[as] = value * factor
    else problems[field] = value
  }
  number('value', 'value')
  number('step', 'step')
  number('lower', 'lower')
  number('upper', 'upper')
  number('days', 'lifetime', { least: 1, most: LONGEST_DAYS, factor: DAY })

  if (plan.step === 0) problems.step = { key: 'problem.zero' }
  if (plan.lower > plan.upper) problems.upper = { key: 'problem.bounds' }
  return { plan, problems }
}
