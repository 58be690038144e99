import { useText } from '../i18n/text.jsx'
import { useTitle } from '../parts/useTitle.js'
import { Export } from './Export.jsx'
import { Import } from './Import.jsx'

export function Move({ client }) {
  const { t } = useText()
  useTitle(t('move'))
  return (
    <>
      <h1>{t('move')}</h1>
      <div className="columns">
        <Import client={client} />
        <Export client={client} />
      </div>
    </>
  )
}
