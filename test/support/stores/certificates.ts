import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Kinds of certificate that a server can show. */
export type Certificate = 'right' | 'expired' | 'of another authority' | 'of another name'

export const BAD_CERTIFICATES: readonly Certificate[] = ['expired', 'of another authority', 'of another name']

/** Certificates for `localhost`, right and wrong, in a directory of their own. */
export interface Certificates {
  /** File of the authority that the right certificate is from. */
  readonly authority: string
  certificateFile(certificate: Certificate): string
  keyFile(certificate: Certificate): string
  remove(): Promise<void>
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const

export async function makeCertificates(): Promise<Certificates> {
  const dir = await mkdtemp(join(tmpdir(), 'porthor-tls-'))
  const file = (name: string) => join(dir, name)
  const openssl = (...args: readonly string[]) => run('openssl', args)
  const authority = (name: string) =>
    openssl(
      'req',
      '-x509',
      ...KEY,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.pem`),
      '-subj',
      `/CN=${name}`,
    )
  const sign = async (name: string, by: string, host: string, days: string) => {
    const request = ['-keyout', file(`${name}.key`), '-out', file(`${name}.csr`), '-subj', `/CN=${host}`]
    await openssl('req', ...KEY, ...request, '-addext', `subjectAltName=DNS:${host}`)
    const signer = ['-CA', file(`${by}.pem`), '-CAkey', file(`${by}.key`), '-CAcreateserial']
    const out = ['-out', file(`${name}.pem`), '-days', days, '-copy_extensions', 'copy']
    await openssl('x509', '-req', '-in', file(`${name}.csr`), ...signer, ...out)
  }
  await Promise.all([authority('ours'), authority('another')])
  await sign('right', 'ours', 'localhost', '1')
  await sign('expired', 'ours', 'localhost', '-1')
  await sign('of another authority', 'another', 'localhost', '1')
  await sign('of another name', 'ours', 'elsewhere', '1')
  return {
    authority: file('ours.pem'),
    certificateFile: (certificate) => file(`${certificate}.pem`),
    keyFile: (certificate) => file(`${certificate}.key`),
    remove: () => rm(dir, { recursive: true, force: true }),
  }
}
