#!/usr/bin/env node
// Does what the tests ask of curl, on machines that have none: curl -s URL [-H HEADER]... [-d BODY]...
const headers = new Headers()
const data = []
let url = ''
const args = process.argv.slice(2)
for (let arg = args.shift(); arg !== undefined; arg = args.shift()) {
  if (arg === '-H') {
    const [, name, value] = /^([^:]+): *(.*)$/.exec(args.shift() ?? '') ?? []
    headers.set(name ?? '', value ?? '')
  } else if (arg === '-d') data.push(args.shift())
  else if (arg !== '-s') url = arg
}
if (data.length > 0 && !headers.has('Content-Type')) {
  headers.set('Content-Type', 'application/x-www-form-urlencoded')
}
const body = data.length > 0 ? data.join('&') : undefined
const response = await fetch(url, { method: body === undefined ? 'GET' : 'POST', headers, body })
process.stdout.write(await response.text())
