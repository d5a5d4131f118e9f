/**
 * Everything that one deployment needs, as real processes on the ports of
 * scripts/dev, and the evidence of what they said and what the browser received.
 */
import { execFile, execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { findSecrets, type Evidence } from './leaks'
import { Program } from './program'
import { nameOf, startOther, type OtherName } from './others'
import { startDevidp, type Place, type Provider } from './provider'
import { Tap } from './tap'

type Other = OtherName | 'oidc-provider-fapi' | 'keycloak-fapi'

/** How the app, Genkan and the provider stand to each other. */
export type Deployment =
  | 'own-port' // the app on its own port, calls by CORS
  | 'proxy' // the app's dev server passes /bff and /api on: one origin
  | Other // own-port, at a provider that others wrote
  | 'embedded' // Genkan serves the built app
  | 'form-post' // own-port, and the provider answers by a form
  | 'front-channel' // own-port, and the provider tells of a sign-out in a frame

const root = resolve(import.meta.dirname, '../../..')
const genkan = join(root, 'bin/genkan')
const clientSecrets = ['genkan-dev-secret', ...[1, 2, 3].map((n) => `only-for-tests-on-this-machine-${n.toString()}`)]
const vite = { bin: join(root, 'frontend/node_modules/vite/bin/vite.js'), cwd: join(root, 'frontend') }

const replicas = {
  first: {},
  second: {
    GENKAN_LISTEN: 'localhost:8002',
    GENKAN_ADMIN_LISTEN: 'localhost:8003',
    GENKAN_PUBLIC_URLS: 'http://localhost:8000',
  },
} as const

async function command(cwd: string, settings: object, args: string[]): Promise<string> {
  const { PATH = '', HOME = '' } = process.env
  const { stdout } = await promisify(execFile)(genkan, args, { cwd, env: { PATH, HOME, ...settings } })
  return stdout
}

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
    const own = deployment === 'proxy' ? 'http://localhost:5173' : 'http://localhost:8000'
    const tap = await Tap.start()
    try {
      const other = nameOf(deployment)
      const provider = other ? await startOther(other, place) : await startDevidp(place, registered(deployment, own))
      programs.push(provider.program)
      programs.push(await startGenkan(deployment, folder, place))
      if (deployment !== 'embedded') programs.push(await startApp(deployment, place))
      const app = deployment === 'embedded' ? own : 'http://localhost:5173'
      return new Stack({ app, bff: own, provider, tap, folder, programs })
    } catch (error) {
      for (const program of programs.reverse()) await program.stop()
      await tap.stop()
      throw error
    }
  }

  get evidence(): Evidence {
    // What a provider that others wrote puts into its log is not ours to judge.
    const ours = this.#programs.filter((program) => !(this.provider.witness && program === this.provider.program))
    const logs = Object.fromEntries(ours.map(({ log, output }) => [basename(log, '.log'), output]))
    return { provider: this.provider.origin, exchanges: this.tap.exchanges, logs }
  }

  /** What must be nowhere: every token given out, the client's secret, the session key. */
  async secrets(): Promise<string[]> {
    const basic = clientSecrets.flatMap((secret) => ['genkan', 'genkan-dev'].map((id) => btoa(`${id}:${secret}`)))
    const ours = [sessionKey(this.#folder), ...clientKey(this.#folder), ...(this.provider.witness?.proofs ?? [])]
    return [...(await this.provider.issued()), ...clientSecrets, ...basic, ...ours]
  }

  /** Runs a command of genkan beside the server, with its settings, and returns what it prints. */
  genkan(...args: string[]): Promise<string> {
    return command(this.#folder, replicas.first, args)
  }

  /** Starts another Genkan on the same store, which browsers would reach by the same address. */
  async replica(): Promise<{ genkan: Stack['genkan']; stop: () => Promise<void> }> {
    const program = await Program.start({
      command: genkan,
      args: ['dev'],
      cwd: this.#folder,
      env: replicas.second,
      log: join(this.#folder, 'replica.log'),
      answersAt: 'http://localhost:8003/healthz',
    })
    return { genkan: (...args) => command(this.#folder, replicas.second, args), stop: () => program.stop() }
  }

  /** Stops everything, and fails when a secret was anywhere during all the tests it served. */
  async stop(): Promise<void> {
    const secrets = await this.secrets().finally(async () => {
      for (const program of [...this.#programs].reverse()) await program.stop()
      await this.provider.witness?.stop()
      await this.tap.stop()
    })
    const found = findSecrets(this.evidence, secrets)
    if (found.length > 0) throw new Error(`a secret left the server:\n${found.join('\n')}`)
  }
}

/** How devidp tells Genkan of a sign-out, and where it begins a sign-in. */
function registered(deployment: Deployment, bff: string): string[] {
  const channel = deployment === 'front-channel' ? 'frontchannel' : 'backchannel'
  return [`--${channel}-uri`, `${bff}/bff/${channel}`, '--initiate-login-uri', `${bff}/bff/login`]
}

async function startGenkan(deployment: Deployment, folder: string, { log }: Place): Promise<Program> {
  const other = nameOf(deployment)
  const config = other
    ? join(root, 'scripts/providers', other, deployment === other ? 'genkan.yaml' : 'genkan-fapi.yaml')
    : join(import.meta.dirname, '../config', `${deployment}.yaml`)
  const args = [deployment === 'embedded' ? 'serve' : 'dev']
  if (existsSync(config)) args.push('--config', config)
  if (deployment.endsWith('-fapi')) makeClientKey(folder)
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
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, execFileSync(genkan, ['keys', 'new']))
  }
  return readFileSync(file, 'utf8').trim()
}

const keyFile = (folder: string) => join(folder, '.genkan/client-key.pem')

function makeClientKey(folder: string): void {
  mkdirSync(dirname(keyFile(folder)), { recursive: true })
  writeFileSync(keyFile(folder), execFileSync(genkan, ['keys', 'new', '--signing'], { stdio: 'pipe' }), { mode: 0o600 })
}

/** The key with which Genkan proves who it is, where it has one, as its file and its JWK have it. */
function clientKey(folder: string): string[] {
  if (!existsSync(keyFile(folder))) return []
  const pem = readFileSync(keyFile(folder), 'utf8')
  const { d = '' } = createPrivateKey(pem).export({ format: 'jwk' })
  return [...pem.split('\n').filter((line) => /^[\w+/=]{40,}$/.test(line)), d]
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
