/** Programs that a test run starts: their output goes to a file, and they are gone at the end. */
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

export interface Start {
  command: string
  args?: readonly string[]
  cwd: string
  /** Everything it gets beside PATH and HOME, so that no setting of this machine counts. */
  env?: Readonly<Record<string, string>>
  log: string
  /** It is up when this address answers. */
  answersAt: string
  /** Seconds to wait for that. Default 30. */
  patience?: number
}

export class Program {
  readonly log: string
  readonly #process: ChildProcess
  readonly #gone: Promise<void>

  private constructor(start: Start, output: number) {
    const { PATH = '', HOME = '' } = process.env
    this.log = start.log
    this.#process = spawn(start.command, start.args ?? [], {
      cwd: start.cwd,
      env: { PATH, HOME, ...start.env },
      stdio: ['ignore', output, output],
    })
    this.#gone = new Promise((resolve) => {
      this.#process.once('exit', () => resolve())
      this.#process.once('error', () => resolve())
    })
    const kill = () => this.#process.kill('SIGKILL')
    process.once('exit', kill)
    void this.#gone.then(() => process.off('exit', kill))
  }

  static async start(start: Start): Promise<Program> {
    await needPort(Number(new URL(start.answersAt).port))
    const output = openSync(start.log, 'w')
    const program = new Program(start, output)
    closeSync(output)
    try {
      await program.#answers(start)
    } catch (error) {
      await program.stop()
      throw error
    }
    return program
  }

  get output(): string {
    return readFileSync(this.log, 'utf8')
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGTERM')
    const insist = setTimeout(() => this.#process.kill('SIGKILL'), 12_000)
    await this.#gone
    clearTimeout(insist)
  }

  async #answers({ command, answersAt, patience = 30 }: Start): Promise<void> {
    const deadline = Date.now() + patience * 1000
    for (;;) {
      const ended = this.#process.exitCode !== null || this.#process.pid === undefined
      if (ended || Date.now() > deadline) {
        throw new Error(
          `${command} ${ended ? 'ended' : `does not answer at ${answersAt}`}:\n${this.output.slice(-4000)}`,
        )
      }
      if (
        await fetch(answersAt).then(
          () => true,
          () => false,
        )
      )
        return
      await pause(100)
    }
  }
}

/** Fails when something listens there, by IPv4 or IPv6. */
export async function needPort(port: number): Promise<void> {
  const tries = ['127.0.0.1', '::1'].map(
    (host) =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, host)
        socket.once('connect', () => {
          socket.destroy()
          resolve(true)
        })
        socket.once('error', () => resolve(false))
      }),
  )
  if ((await Promise.all(tries)).includes(true)) {
    throw new Error(
      `port ${port.toString()} is in use: stop what listens there (scripts/dev, perhaps) and run the tests again`,
    )
  }
}
