/** Before all tests: the ports are free, the programs are as in this checkout, the app is built. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { needPort } from './program'

const root = resolve(import.meta.dirname, '../../..')

export default async function build(): Promise<void> {
  for (const port of [5173, 8000, 8001, 8002, 8003, 9000, 9010, 9015, 9020, 9025, 9030, 9035, 9100, 9110, 9120])
    await needPort(port)
  const built = existsSync(resolve(root, 'frontend/dist/index.html'))
  execFileSync(resolve(root, 'scripts/build'), built ? ['--go'] : [], { cwd: root, stdio: 'inherit' })
}
