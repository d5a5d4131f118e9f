import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import vue from '@vitejs/plugin-vue'
import { loadEnv, type Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

const genkan = 'http://localhost:8000'

/**
 * Two ways to develop: the app on its own port calling Genkan across origins
 * (`npm run dev`), or both behind this server as one origin (`npm run dev:proxy`, or
 * GENKAN_PROXY=1). A build calls its own origin unless VITE_BFF_URL says otherwise.
 */
export default defineConfig(({ command, mode }) => {
  const env = loadEnv(mode, import.meta.dirname, ['VITE_', 'GENKAN_PROXY'])
  const proxied = mode === 'proxy' || (env['GENKAN_PROXY'] ?? '') !== ''
  const own = command === 'serve' && mode !== 'test' ? genkan : ''
  const bff = proxied ? '' : (env['VITE_BFF_URL'] ?? own)
  return {
    plugins: [vue(), bothLoopbacks()],
    define: { 'import.meta.env.VITE_BFF_URL': JSON.stringify(bff) },
    server: {
      host: 'localhost',
      port: 5173,
      strictPort: true, // another port is another origin, which Genkan would not know
      proxy: proxied ? { '^/(bff|api|\\.well-known)/': target() } : {},
    },
    preview: { host: 'localhost', port: 5173, strictPort: true },
    build: {
      assetsInlineLimit: 0, // data: URLs are for images only under our Content-Security-Policy
      modulePreload: { polyfill: false },
      sourcemap: false,
    },
    test: {
      environment: 'happy-dom',
      environmentOptions: { happyDOM: { url: 'http://localhost:5173/' } },
      include: ['src/**/*.test.ts'],
      restoreMocks: true,
    },
  }
})

/** changeOrigin stays off: Genkan must see the host that the browser sees. */
function target() {
  return { target: genkan, changeOrigin: false, ws: true }
}

/**
 * Node resolves `localhost` to one address, so Vite listens on 127.0.0.1 or on [::1],
 * while browsers and tools try either. This listens on the other one too.
 */
function bothLoopbacks(): Plugin {
  return {
    name: 'both-loopbacks',
    configureServer({ httpServer, middlewares, config }) {
      if (!httpServer || config.server.host !== 'localhost') return
      let twin: Server | undefined
      httpServer.once('listening', () => {
        const { address, port } = httpServer.address() as AddressInfo
        twin = createServer(middlewares)
        twin.on('upgrade', (...upgrade) => httpServer.emit('upgrade', ...upgrade))
        twin.on('error', (error: NodeJS.ErrnoException) => {
          if (error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT') return // a machine with one family
          config.logger.error(`the other loopback address of port ${port.toString()}: ${error.message}`)
          void httpServer.close()
          process.exitCode = 1
        })
        twin.listen(port, address === '127.0.0.1' ? '::1' : '127.0.0.1')
      })
      httpServer.once('close', () => twin?.close())
    },
  }
}
