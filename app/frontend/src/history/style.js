// How the charts look. A canvas knows no CSS variables: the style sheet sets these properties of
// `.plot canvas`, from which the browser gives the colours of the theme that holds.

function colours(canvas) {
  const { color, fill, stroke } = getComputedStyle(canvas)
  return { text: color, series: fill, grid: stroke }
}

export function datasetStyle(canvas, kind) {
  const { series } = colours(canvas)
  if (kind === 'bar') return { backgroundColor: series, borderRadius: 3, maxBarThickness: 28 }
  return {
    borderColor: series,
    borderWidth: 2.5,
    backgroundColor: series.replace(/rgba?\(([^)]+)\)/, 'rgb($1, 0.14)'),
    fill: 'start',
    // One point makes no line.
    pointRadius: ({ chart }) => (chart.data.labels.length === 1 ? 4 : 0),
    pointBackgroundColor: series,
    pointHitRadius: 12,
    tension: 0.15,
  }
}

export function chartOptions(canvas, kind, format) {
  const { text, grid } = colours(canvas)
  const { fontFamily } = getComputedStyle(canvas)
  const ticks = { color: text, font: { family: fontFamily, size: 12 } }
  return {
    // It is redrawn with every hit: moving bars would be noise.
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: 'index', intersect: false },
    plugins: {
      tooltip: {
        displayColors: false,
        callbacks: { label: ({ parsed }) => format(parsed.y) },
      },
    },
    scales: {
      x: {
        grid: { display: false },
        border: { color: grid },
        ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 24 },
      },
      y: {
        beginAtZero: kind === 'bar',
        grace: kind === 'bar' ? 0 : '10%',
        grid: { color: grid },
        border: { display: false },
        ticks: { ...ticks, precision: 0, maxTicksLimit: 5, callback: (value) => format(value) },
      },
    },
  }
}
