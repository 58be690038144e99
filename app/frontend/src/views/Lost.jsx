import { useText } from '../i18n/text.jsx'
import { OpenCounter } from '../parts/OpenCounter.jsx'
import { useTitle } from '../parts/useTitle.js'

export function Lost() {
  const { t } = useText()
  useTitle(t('lost'))
  return (
    <>
      <section className="card">
        <h1>{t('lost')}</h1>
        <p className="hint">{t('lost.hint')}</p>
      </section>
      <OpenCounter />
    </>
  )
}
