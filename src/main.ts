#!/usr/bin/env node
import { register } from 'node:module'
import { findDescriptorLimit, isTooLowToLoad } from './lib/descriptor-limit.ts'

// Before anything else is loaded.
if (isTooLowToLoad(findDescriptorLimit())) register('./lib/load-one-by-one.js', import.meta.url)
const { run } = await import('./cli/program.ts')

process.exitCode = await run(process.argv, process.env)

// All is closed. A log whose reader has stopped to read would keep the process for as long as that lasts.
setTimeout(() => process.exit(), 1_000).unref()
