import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

const backend = process.env.COUNTERAPP_BACKEND ?? 'http://127.0.0.1:8000'

const COMPRESSED = /\.(css|js|svg)$/
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } }

// Puts file.js.br and file.js.gz beside each file.js, as small as can be, for the service to give to
// who takes them. Not for the page itself, which is another each time.
function compress() {
  return {
    name: 'compress',
    apply: 'build',
    writeBundle({ dir }) {
      for (const name of readdirSync(dir, { recursive: true }).filter((each) => COMPRESSED.test(each))) {
        const file = path.join(dir, name)
        const whole = readFileSync(file)
        writeFileSync(`${file}.br`, brotliCompressSync(whole, BROTLI))
        writeFileSync(`${file}.gz`, gzipSync(whole, { level: constants.Z_BEST_COMPRESSION }))
      }
    },
  }
}

export default defineConfig({
  plugins: [react(), compress()],
  build: {
    // Nothing inline: the content security policy of the page allows files only.
    assetsInlineLimit: 0,
    // No links that are put in by a script: they would have no nonce.
    modulePreload: { polyfill: false, resolveDependencies: () => [] },
  },
  server: {
    proxy: Object.fromEntries(['/api', '/stream', '/badge'].map((path) => [path, backend])),
  },
  test: {
    environment: 'jsdom',
    include: ['test/**/*.test.{js,jsx}'],
    restoreMocks: true,
    // As long as a machine with much else to do may take.
    testTimeout: 60_000,
  },
})
