#!/usr/bin/env node
import { register } from 'node:module'
import { findDescriptorLimit, isTooLowToLoad } from './lib/descriptor-limit.ts'

// Before anything else is loaded.
if (isTooLowToLoad(findDescriptorLimit())) register('./lib/load-one-by-one.js', import.meta.url)
const { run } = await import('./cli/program.ts')

process.exitCode = await run(process.argv, process.env)

// Everything is closed. A log whose reader has stopped reading would keep the process alive.
setTimeout(() => process.exit(), 1_000).unref()
