import { useState } from 'react'

import { Refused } from '../api/errors.js'
import { makeSurely } from '../api/making.js'
import { randomKey } from '../api/persist.js'
import { useText } from '../i18n/text.jsx'
import { useKeys } from '../keys/keys.jsx'
import { Check, Field } from '../parts/Field.jsx'
import { explain, focusFirstProblem } from '../parts/forms.js'
import { Use } from '../parts/Use.jsx'
import { useTitle } from '../parts/useTitle.js'
import { counterHref } from '../route.js'
import { EMPTY, readPlan } from './plan.js'

// `namespace` and `name` are those of a counter that somebody looked for and that is not there.
export function Make({ client, namespace, name }) {
  const { t } = useText()
  const [made, setMade] = useState(null)
  useTitle(t('make'))
  return made ? (
    <Made counter={made} again={() => setMade(null)} />
  ) : (
    <MakeForm
      client={client}
      begin={name ? { ...EMPTY, namespace, key: name } : EMPTY}
      done={setMade}
    />
  )
}

function MakeForm({ client, begin, done }) {
  const { t, number } = useText()
  const { latest, made } = useKeys()
  const [form, setForm] = useState(begin)
  const [admin, setAdmin] = useState(latest)
  const [problems, setProblems] = useState({})
  const [failure, setFailure] = useState(null)
  const [busy, setBusy] = useState(false)

  function field(name, more) {
    const problem = problems[name]
    const values = problem?.values ?? {}
    const texts = Object.entries(values).map(([word, value]) => [word, number(value)])
    return {
      label: t(`make.${name}`),
      value: form[name],
      onChange: (event) => setForm({ ...form, [name]: event.target.value }),
      problem: problem && t(problem.key, Object.fromEntries(texts)),
      ...more,
    }
  }

  async function submit(event) {
    event.preventDefault()
    if (busy) return
    const { plan, problems: found } = readPlan(form)
    setProblems(found)
    setFailure(null)
    if (Object.keys(found).length > 0) {
      focusFirstProblem(event.target)
      return
    }
    setBusy(true)
    const whole = { ...plan, key: plan.key ?? randomKey() }
    const key = admin.trim() || randomKey()
    const note = () => made(key, [`${whole.namespace}/${whole.key}`], key !== admin.trim())
    try {
      const counter = await makeSurely(client, whole, key, note)
      note()
      done(counter)
    } catch (error) {
      // It may have been made all the same: the next try has to be its owner's.
      if (!(error instanceof Refused)) {
        setAdmin(key)
        setForm({ ...form, key: whole.key })
      }
      setFailure(explain(error, t))
      setBusy(false)
    }
  }

  const whole = { inputMode: 'numeric' }
  return (
    <form className="card" aria-labelledby="make" onSubmit={submit} noValidate>
      <h1 id="make">{t('make')}</h1>
      <p className="hint">{t('make.intro')}</p>
      <div className="fields">
        <Field {...field('namespace', { hint: t('make.namespace.hint') })} />
        <Field {...field('key', { hint: t('make.key.hint') })} />
        <Field {...field('value', whole)} />
      </div>
      <details open={['step', 'lower', 'upper', 'days'].some((name) => problems[name]) || undefined}>
        <summary>{t('make.more')}</summary>
        <div className="fields">
          <Field {...field('step', { ...whole, hint: t('make.step.hint') })} />
          <Field {...field('lower', { ...whole, hint: t('make.bounds.hint') })} />
          <Field {...field('upper', whole)} />
          <Field {...field('days', { ...whole, hint: t('make.days.hint') })} />
          <Field
            label={t('admin.yours')}
            hint={t(latest ? 'admin.same.hint' : 'admin.yours.hint')}
            value={admin}
            onChange={(event) => setAdmin(event.target.value)}
          />
        </div>
        <Check
          label={t('make.resettable')}
          checked={form.resettable}
          onChange={(event) => setForm({ ...form, resettable: event.target.checked })}
        />
      </details>
      <button type="submit" aria-disabled={busy}>
        {t(busy ? 'make.going' : 'make.go')}
      </button>
      <p className="problem" role="alert">
        {failure}
      </p>
    </form>
  )
}

function Made({ counter, again }) {
  const { t } = useText()
  const key = { namespace: counter.namespace, name: counter.key }
  const focus = (heading) => heading?.focus()
  return (
    <>
      <section className="card" aria-labelledby="made">
        <h1 id="made" ref={focus} tabIndex={-1}>
          {t('make.done', { key: `${key.namespace}/${key.name}` })}
        </h1>
        <p className="hint">{t('make.owner')}</p>
        <p className="row">
          <a className="button" href={counterHref(key)}>
            {t('make.visit')}
          </a>
          <button type="button" className="second" onClick={again}>
            {t('make.another')}
          </button>
        </p>
      </section>
      <Use counter={key} />
    </>
  )
}
