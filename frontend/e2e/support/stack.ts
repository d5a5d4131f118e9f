/**
 * Everything that one deployment needs, as real processes on the ports of
 * scripts/dev, and the evidence of what they said and what the browser received.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { findSecrets, type Evidence } from './leaks'
import { Program } from './program'
import { startDevidp, startOidcProvider, type Place, type Provider } from './provider'
import { Tap } from './tap'

/** How the app, Genkan and the provider stand to each other. */
export type Deployment =
  | 'own-port' // the app on its own port, calls by CORS
  | 'proxy' // the app's dev server passes /bff and /api on: one origin
  | 'oidc-provider' // own-port, at a provider that others wrote
  | 'embedded' // Genkan serves the built app
  | 'form-post' // own-port, and the provider answers by a form

const root = resolve(import.meta.dirname, '../../..')
const genkan = join(root, 'bin/genkan')
const clientSecrets = ['genkan-dev-secret', 'only-for-tests-on-this-machine-1']
const vite = { bin: join(root, 'frontend/node_modules/vite/bin/vite.js'), cwd: join(root, 'frontend') }

export class Stack {
  readonly app: string
  readonly bff: string
  readonly provider: Provider
  readonly tap: Tap
  readonly #folder: string
  readonly #programs: readonly Program[]

  private constructor(parts: {
    app: string
    bff: string
    provider: Provider
    tap: Tap
    folder: string
    programs: Program[]
  }) {
    this.app = parts.app
    this.bff = parts.bff
    this.provider = parts.provider
    this.tap = parts.tap
    this.#folder = parts.folder
    this.#programs = parts.programs
  }

  static async start(deployment: Deployment): Promise<Stack> {
    // Genkan runs in an empty folder: no .env and no key of this checkout counts.
    const folder = join(root, 'frontend/test-results/run', deployment)
    rmSync(folder, { recursive: true, force: true })
    mkdirSync(folder, { recursive: true })
    const place: Place = { root, log: (name) => join(folder, `${name}.log`) }
    const programs: Program[] = []
    const tap = await Tap.start()
    try {
      const provider = deployment === 'oidc-provider' ? await startOidcProvider(place) : await startDevidp(place)
      programs.push(provider.program)
      programs.push(await startGenkan(deployment, folder, place))
      if (deployment !== 'embedded') programs.push(await startApp(deployment, place))
      const own = deployment === 'proxy' ? 'http://localhost:5173' : 'http://localhost:8000'
      const app = deployment === 'embedded' ? own : 'http://localhost:5173'
      return new Stack({ app, bff: own, provider, tap, folder, programs })
    } catch (error) {
      for (const program of programs.reverse()) await program.stop()
      await tap.stop()
      throw error
    }
  }

  get evidence(): Evidence {
    const logs = Object.fromEntries(this.#programs.map(({ log, output }) => [basename(log, '.log'), output]))
    return { provider: this.provider.origin, exchanges: this.tap.exchanges, logs }
  }

  /** What must be nowhere: every token given out, the client's secret, the session key. */
  async secrets(): Promise<string[]> {
    const basic = clientSecrets.flatMap((secret) => ['genkan', 'genkan-dev'].map((id) => btoa(`${id}:${secret}`)))
    return [...(await this.provider.issued()), ...clientSecrets, ...basic, sessionKey(this.#folder)]
  }

  /** Stops everything, and fails when a secret was anywhere during all the tests it served. */
  async stop(): Promise<void> {
    const secrets = await this.secrets().finally(async () => {
      for (const program of [...this.#programs].reverse()) await program.stop()
      await this.tap.stop()
    })
    const found = findSecrets(this.evidence, secrets)
    if (found.length > 0) throw new Error(`a secret left the server:\n${found.join('\n')}`)
  }
}

async function startGenkan(deployment: Deployment, folder: string, { log }: Place): Promise<Program> {
  const config = join(import.meta.dirname, '../config', `${deployment}.yaml`)
  const args = [deployment === 'embedded' ? 'serve' : 'dev']
  if (existsSync(config)) args.push('--config', config)
  const env: Record<string, string> = { GENKAN_LOG_LEVEL: 'debug' }
  if (deployment === 'proxy') env['GENKAN_PUBLIC_URLS'] = 'http://localhost:5173'
  if (deployment === 'embedded') env['GENKAN_SESSION_KEYS'] = sessionKey(folder)
  return Program.start({
    command: genkan,
    args,
    cwd: folder,
    env,
    log: log('genkan'),
    answersAt: 'http://localhost:8001/healthz',
  })
}

/** `genkan dev` makes one for itself; for `genkan serve` one is made here, in the same place. */
function sessionKey(folder: string): string {
  const file = join(folder, '.genkan/session.key')
  if (!existsSync(file)) {
    mkdirSync(dirname(file))
    writeFileSync(file, execFileSync(genkan, ['keys', 'new']))
  }
  return readFileSync(file, 'utf8').trim()
}

async function startApp(deployment: Deployment, { log }: Place): Promise<Program> {
  return Program.start({
    command: process.execPath,
    args: [vite.bin, '--strictPort', ...(deployment === 'proxy' ? ['--mode', 'proxy'] : [])],
    cwd: vite.cwd,
    log: log('vite'),
    answersAt: 'http://localhost:5173/',
  })
}
