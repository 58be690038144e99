import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

const backend = process.env.COUNTERAPP_BACKEND ?? 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [react()],
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
  },
})
