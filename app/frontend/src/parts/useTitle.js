import { useEffect } from 'react'

export function useTitle(text) {
  useEffect(() => {
    document.title = `${text} · counterapp`
  }, [text])
}
