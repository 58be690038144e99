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

import { limits } from './series.js'
import { captions, chartOptions, datasets, marks } from './style.js'

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

// What was added and the count, above each other on one time axis. `summary` says in words what is
// to be seen, for those who do not see it; the numbers themselves stand in the table below. `look`
// changes with the theme; `words` are those of style.js.
export default function Chart({ points, labels, words, summary, look, format }) {
  const canvas = useRef(null)
  const drawing = useRef(null)

  useEffect(() => {
    drawing.current = new Drawing(canvas.current, {
      type: 'bar',
      data: { labels: [], datasets: datasets(canvas.current), marked: [] },
      options: chartOptions(canvas.current, words, format),
      plugins: [captions, marks],
    })
    return () => drawing.current.destroy()
  }, [look, words, format])

  useEffect(() => {
    const { data, options } = drawing.current
    const ends = limits(points)
    data.labels = labels
    data.marked = points.flatMap(({ set }, index) => (set === 0 ? [] : [index]))
    data.datasets[0].data = points.map(({ change }) => change)
    data.datasets[1].data = points.map(({ value }) => value)
    Object.assign(options.scales.change, ends.change)
    Object.assign(options.scales.value, ends.value)
    drawing.current.update()
  }, [points, labels, look, words, format])

  return (
    <div className="plot">
      <canvas ref={canvas} role="img" aria-label={summary} />
    </div>
  )
}
