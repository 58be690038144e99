// How the chart looks. A canvas knows no CSS variables: the style sheet sets these properties of
// `.plot canvas`, from which the browser gives the colours of the theme that holds.

// Pixels: the room above each part for what it shows, and that between a number and its axis.
const CAPTION = 22
const TICK = 12

const widthOf = (ctx, label) => ctx.measureText(label).width

function colours(canvas) {
  const { color, fill, stroke, caretColor } = getComputedStyle(canvas)
  return { text: color, series: fill, grid: stroke, mark: caretColor }
}

// Bars of what was added, and below them, on the same time axis, the line of the count.
export function datasets(canvas) {
  const { series } = colours(canvas)
  const added = { type: 'bar', yAxisID: 'change', data: [], backgroundColor: series }
  const count = { type: 'line', yAxisID: 'value', data: [], borderColor: series }
  return [
    { ...added, borderRadius: 2, barPercentage: 0.95, categoryPercentage: 0.95 },
    {
      ...count,
      borderWidth: 2.5,
      backgroundColor: series.replace(/rgba?\(([^)]+)\)/, 'rgb($1, 0.14)'),
      // An area is read from 0; where the axis does not reach that, it would lie.
      fill: ({ chart }) => (reaches(chart.options.scales.value, 0) ? 'origin' : false),
      // One point makes no line.
      pointRadius: ({ dataset }) => (dataset.data.filter(Number.isFinite).length === 1 ? 4 : 0),
      pointBackgroundColor: series,
      pointHitRadius: 12,
      // A point at the end of the axis is whole.
      clip: 6,
      // Between two measured counts it goes nowhere that the counter was not.
      cubicInterpolationMode: 'monotone',
    },
  ]
}

const reaches = ({ min, max }, value) => min <= value && value <= max

// `words` has what the chart says: {change, value} for the axes, and tip(index), which gives
// {title, change, value, set} of a point.
export function chartOptions(canvas, words, format) {
  const { text, grid, mark } = colours(canvas)
  const { fontFamily } = getComputedStyle(canvas)
  const font = { family: fontFamily, size: 12 }
  const ticks = { color: text, font }
  const stacked = { type: 'linear', axis: 'y', position: 'left', stack: 'plot' }
  const upright = {
    ...stacked,
    stackWeight: 5,
    grid: { color: grid },
    border: { display: false },
    ticks: { ...ticks, precision: 0, maxTicksLimit: 5, callback: (value) => format(value) },
    // As wide as its numbers: by itself it would cut them off where the window is narrow.
    afterFit(scale) {
      scale.ctx.font = `${font.size}px ${font.family}`
      scale.width = TICK + Math.max(...scale.ticks.map(({ label }) => widthOf(scale.ctx, label)))
    },
  }
  return {
    // It is redrawn with every hit: moving bars would be noise.
    animation: false,
    maintainAspectRatio: false,
    layout: { padding: { top: CAPTION } },
    interaction: { mode: 'index', intersect: false },
    plugins: {
      marks: { colour: mark },
      captions: { colour: text, font, texts: { change: words.change, value: words.value } },
      tooltip: {
        displayColors: false,
        titleFont: { family: fontFamily },
        bodyFont: { family: fontFamily },
        callbacks: {
          title: ([{ dataIndex }]) => words.tip(dataIndex).title,
          label: ({ dataIndex, dataset }) => words.tip(dataIndex)[dataset.yAxisID],
          afterBody: ([{ dataIndex }]) => words.tip(dataIndex).set ?? [],
        },
      },
    },
    scales: {
      x: {
        type: 'category',
        grid: { display: false },
        border: { color: grid },
        ticks: { ...ticks, maxRotation: 0, autoSkipPadding: 24 },
      },
      value: upright,
      // Room for the second caption.
      between: {
        ...stacked,
        stackWeight: 1,
        grid: { display: false },
        border: { display: false },
        ticks: { display: false },
      },
      change: upright,
    },
  }
}

// Writes above each part what it shows.
export const captions = {
  id: 'captions',
  afterDraw({ ctx, chartArea, scales }, _, { colour, font, texts }) {
    ctx.save()
    ctx.fillStyle = colour
    ctx.font = `600 ${font.size}px ${font.family}`
    for (const [name, text] of Object.entries(texts)) {
      ctx.fillText(text, chartArea.left, scales[name].top - CAPTION / 2)
    }
    ctx.restore()
  },
}

// Draws a line at each point where the count was set, through both parts of the chart.
export const marks = {
  id: 'marks',
  afterDatasetsDraw(chart, _, { colour }) {
    const { ctx, chartArea } = chart
    ctx.save()
    ctx.strokeStyle = colour
    ctx.lineWidth = 1.5
    ctx.setLineDash([4, 3])
    for (const index of chart.data.marked) {
      const x = chart.scales.x.getPixelForValue(index)
      ctx.beginPath()
      ctx.moveTo(x, chartArea.top)
      ctx.lineTo(x, chartArea.bottom)
      ctx.stroke()
    }
    ctx.restore()
  },
}
