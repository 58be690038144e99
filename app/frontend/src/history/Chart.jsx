import {
  BarController,
  BarElement,
  CategoryScale,
  Chart as Drawing,
  Filler,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
} from 'chart.js'
import { useEffect, useRef } from 'react'

import { chartOptions, datasetStyle } from './style.js'

Drawing.register(
  BarController,
  BarElement,
  CategoryScale,
  Filler,
  LinearScale,
  LineController,
  LineElement,
  PointElement,
  Tooltip,
)

// One chart: `kind` is 'bar' or 'line'. `summary` says in words what is to be seen, for those who
// do not see it; the numbers themselves stand in the table below. `look` changes with the theme.
export function Chart({ kind, labels, values, summary, look, format }) {
  const canvas = useRef(null)
  const drawing = useRef(null)

  useEffect(() => {
    drawing.current = new Drawing(canvas.current, {
      type: kind,
      data: { labels: [], datasets: [{ data: [], ...datasetStyle(canvas.current, kind) }] },
      options: chartOptions(canvas.current, kind, format),
    })
    return () => drawing.current.destroy()
  }, [kind, look, format])

  useEffect(() => {
    drawing.current.data.labels = labels
    drawing.current.data.datasets[0].data = values
    drawing.current.update()
  }, [labels, values, kind, look, format])

  return (
    <div className="plot">
      <canvas ref={canvas} role="img" aria-label={summary} />
    </div>
  )
}
