import { useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { Confirm } from '../parts/Confirm.jsx'
import { Field } from '../parts/Field.jsx'
import { explain, focusFirstProblem } from '../parts/forms.js'
import { counterHref } from '../route.js'
import { readWhole } from '../views/plan.js'

const ACTIONS = ['set', 'reset', 'delete']

// One counter of an owner: its number, and what may be done with it, each after a question.
export function OwnedCounter({ client, admin, counter, refresh }) {
  const { t, number } = useText()
  const key = { namespace: counter.namespace, name: counter.key }
  const name = `${key.namespace}/${key.name}`
  const [asking, setAsking] = useState(null)
  const [told, setTold] = useState({})

  async function act(action) {
    setTold({})
    try {
      await action()
      setAsking(null)
      setTold({ done: true })
      refresh()
    } catch (error) {
      setTold({ failure: explain(error, t) })
    }
  }

  const confirmed = {
    reset: () => act(() => client.set(key, 0, admin)),
    delete: () => act(() => client.remove(key, admin)),
  }
  const offered = counter.resettable ? ACTIONS : ['delete']
  return (
    <li>
      <a href={counterHref(key)}>{name}</a>
      <span className="number">{number(counter.value)}</span>
      <span className="row">
        {offered.map((action) => (
          <button
            key={action}
            type="button"
            className="second small"
            aria-label={t(`mine.${action}.of`, { name })}
            onClick={() => setAsking(action)}
          >
            {t(`mine.${action}`)}
          </button>
        ))}
      </span>
      {asking === 'set' && (
        <SetValue
          name={name}
          value={counter.value}
          go={(value) => act(() => client.set(key, value, admin))}
          cancel={() => setAsking(null)}
        />
      )}
      {confirmed[asking] && (
        <Confirm
          question={t(`mine.${asking}.sure`, { name, value: number(counter.value) })}
          go={t(`mine.${asking}`)}
          confirm={confirmed[asking]}
          cancel={() => setAsking(null)}
        />
      )}
      <p className="problem" role="alert">
        {told.failure}
      </p>
      <p role="status" className="visually-hidden">
        {told.done && t('mine.done')}
      </p>
    </li>
  )
}

function SetValue({ name, value, go, cancel }) {
  const { t, number } = useText()
  const [text, setText] = useState(String(value))
  const [wrong, setWrong] = useState(null)

  function confirm() {
    const read = readWhole(text)
    if (typeof read === 'number') {
      go(read)
      return
    }
    const limits = Object.entries(read.values).map(([word, limit]) => [word, number(limit)])
    setWrong(t(read.key, Object.fromEntries(limits)))
    focusFirstProblem(document.querySelector('form.confirm'))
  }

  return (
    <Confirm
      question={t('mine.set.sure', { name, value: number(value) })}
      go={t('mine.set')}
      confirm={confirm}
      cancel={cancel}
    >
      <Field
        label={t('mine.set.value')}
        inputMode="numeric"
        value={text}
        onChange={(event) => setText(event.target.value)}
        problem={wrong}
      />
    </Confirm>
  )
}
