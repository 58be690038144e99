// Doing something until it is done, through a failover if need be.

import { Unreachable } from './errors.js'

export const RETRY = 1_000
export const PATIENCE = 60_000

// A key that no other request has. Not crypto.randomUUID: that is for secure origins only, and the
// page must work from plain HTTP.
export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

// Calls `attempt` until it succeeds or is refused, and gives up after PATIENCE. It must be safe to
// repeat: a hit is, with an idempotency key.
export async function persist(attempt, onRetry = () => {}) {
  const deadline = performance.now() + PATIENCE
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof Unreachable) || performance.now() >= deadline) throw error
      onRetry(error)
      await new Promise((resolve) => setTimeout(resolve, RETRY))
    }
  }
}
