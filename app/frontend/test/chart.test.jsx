import { cleanup, render } from '@testing-library/react'
import { Chart as Drawing } from 'chart.js'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'

import Chart from '../src/history/Chart.jsx'

// jsdom has no canvas to draw on. What the axes come to is computed all the same; what is drawn is
// looked at in Chromium.
function blank(canvas) {
  const nothing = () => {}
  return new Proxy(
    { canvas, measureText: () => ({ width: 30 }) },
    { get: (known, name) => known[name] ?? nothing, set: () => true },
  )
}

beforeEach(() => {
  vi.spyOn(HTMLCanvasElement.prototype, 'getContext').mockImplementation(function () {
    return blank(this)
  })
  vi.stubGlobal('ResizeObserver', class {
    observe() {}
    disconnect() {}
  })
})

afterEach(() => {
  cleanup()
  vi.unstubAllGlobals()
})

const words = { change: 'Added', value: 'Count', tip: (index) => ({ title: `point ${index}` }) }
const draw = (points) => (
  <Chart
    points={points}
    labels={points.map((_, index) => String(index))}
    words={words}
    summary="a summary"
    look="light"
    format={String}
  />
)
const drawn = (container) => Drawing.getChart(container.querySelector('canvas'))

describe('what is drawn', () => {
  const points = [
    { value: null, change: 0, set: 0 },
    { value: 1_000_100, change: 3, set: 0 },
    { value: 1_000_140, change: 5, set: 35 },
  ]

  it('has both parts on one time axis, and no count that was not measured', () => {
    const { container } = render(draw(points))
    const { scales, data } = drawn(container)
    expect([scales.value.min, scales.value.max]).toEqual([1_000_100, 1_000_140])
    expect(scales.change.min).toBe(0)
    expect(scales.change.options.stack).toBe(scales.value.options.stack)
    expect(scales.x.getLabels()).toHaveLength(3)
    expect(data.marked).toEqual([2])
  })

  it('moves its axes along with the count', () => {
    const { container, rerender } = render(draw(points))
    rerender(draw([...points, { value: 7, change: -2, set: -1_000_131 }]))
    const { scales, data } = drawn(container)
    expect([scales.value.min, scales.change.min]).toEqual([7, -2])
    expect(data.marked).toEqual([2, 3])
  })

  it('can be of a counter that never moved', () => {
    const { container } = render(draw([{ value: 42, change: 0, set: 0 }]))
    const { scales } = drawn(container)
    expect([scales.value.min, scales.value.max]).toEqual([42, 43])
  })
})
