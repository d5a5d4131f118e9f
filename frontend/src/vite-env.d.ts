/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** Origin of Genkan; empty when it is the page's own. */
  readonly VITE_BFF_URL: string
}
