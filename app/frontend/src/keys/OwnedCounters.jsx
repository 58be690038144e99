import { useEffect, useId, useState } from 'react'

import { useText } from '../i18n/text.jsx'
import { Confirm } from '../parts/Confirm.jsx'
import { download } from '../parts/download.js'
import { Check, Field } from '../parts/Field.jsx'
import { explain } from '../parts/forms.js'
import { useKeys } from './keys.jsx'
import { OwnedCounter } from './OwnedCounter.jsx'

// A key is told from others by its beginning; the whole of it is for nobody who looks on.
const shortened = (admin) => `${admin.slice(0, 6)}…`

// The counters of one admin key, and what its owner does with them all.
export function OwnedCounters({ client, admin, kept }) {
  const { t } = useText()
  const { keep, forget } = useKeys()
  const [list, more, refresh] = useOwned(client, admin)
  const [asking, setAsking] = useState(null)
  const [failure, setFailure] = useState(null)
  const [format, setFormat] = useState('csv')
  const id = useId()

  async function save(event) {
    event.preventDefault()
    setFailure(null)
    try {
      download(await client.exportCounts(format, admin), `counters.${format}`)
    } catch (error) {
      setFailure(explain(error, t))
    }
  }

  return (
    <section className="card" aria-labelledby={id} data-testid="owned">
      <h2 id={id}>{t('mine.of', { key: shortened(admin) })}</h2>
      {list.failure && <p className="problem">{explain(list.failure, t)}</p>}
      {list.none && <p className="hint">{t('mine.none')}</p>}
      <ul className="owned">
        {list.items.map((counter) => (
          <OwnedCounter
            key={`${counter.namespace}/${counter.key}`}
            client={client}
            admin={admin}
            counter={counter}
            refresh={refresh}
          />
        ))}
      </ul>
      {list.loading && <p className="hint">{t('loading')}</p>}
      {list.next && (
        <button type="button" className="second" onClick={more}>
          {t('mine.more')}
        </button>
      )}
      <form className="row end" onSubmit={save} noValidate>
        <Field
          as="select"
          label={t('export.format')}
          value={format}
          onChange={(event) => setFormat(event.target.value)}
        >
          <option value="csv">CSV</option>
          <option value="json">JSON</option>
        </Field>
        <button type="submit" className="second">
          {t('export.go')}
        </button>
      </form>
      <Check
        label={t('admin.keep')}
        checked={kept}
        onChange={({ target }) => setFailure(keep(admin, target.checked) ? null : t('admin.unkept'))}
      />
      <p className="problem" role="alert">
        {failure}
      </p>
      {asking ? (
        <Confirm
          question={t('mine.forget.sure')}
          go={t('mine.forget')}
          confirm={() => forget(admin)}
          cancel={() => setAsking(false)}
        />
      ) : (
        <p>
          <button type="button" className="second" onClick={() => setAsking(true)}>
            {t('mine.forget')}
          </button>
        </p>
      )}
    </section>
  )
}

const NOTHING_YET = { items: [], next: null, loading: true, none: false, failure: null }

// Reads a page behind those of `before`. It throws nothing: what went wrong is in the list.
async function readPage(client, admin, { items: before, next: after }) {
  try {
    const { items, next } = await client.owned(admin, after)
    return { ...NOTHING_YET, loading: false, items: [...before, ...items], next }
  } catch (failure) {
    // That is how the service says that a key owns nothing.
    const none = failure.status === 403
    const kept = none ? {} : { items: before, next: after, failure }
    return { ...NOTHING_YET, loading: false, none, ...kept }
  }
}

// [list, more, refresh]: what an admin key owns, page by page.
function useOwned(client, admin) {
  const [list, setList] = useState(NOTHING_YET)
  const [turn, setTurn] = useState(0)

  useEffect(() => {
    let stopped = false
    async function begin() {
      const page = await readPage(client, admin, NOTHING_YET)
      if (!stopped) setList(page)
    }
    begin()
    return () => {
      stopped = true
    }
  }, [client, admin, turn])

  const more = async () => setList(await readPage(client, admin, list))
  return [list, more, () => setTurn(turn + 1)]
}
