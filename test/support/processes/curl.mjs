#!/usr/bin/env node
// Does what the tests ask of curl, on machines that have none: curl -s URL [-H HEADER]... [-d BODY]
const headers = new Headers()
let url = ''
let body
const args = process.argv.slice(2)
for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
  if (arg === '-H') {
    const [, name, value] = /^([^:]+): *(.*)$/.exec(args.shift() ?? '') ?? []
    headers.set(name ?? '', value ?? '')
  } else if (arg === '-d') body = args.shift()
  else if (arg !== '-s') url = arg
}
const response = await fetch(url, { method: body === undefined ? 'GET' : 'POST', headers, body })
process.stdout.write(await response.text())
