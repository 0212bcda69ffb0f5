#!/usr/bin/env node
import { run } from './cli/program.ts'

process.exitCode = await run(process.argv, process.env)

// All is closed. A log whose reader has stopped to read would keep the process for as long as that lasts.
setTimeout(() => process.exit(), 1_000).unref()
