export interface Bar {
  readonly label: string
  readonly value: number
  /** Text beside the bar. */
  readonly text: string
}

const WIDTH = 760
const LABELS = 300
const MAX_BAR_WIDTH = 300
const ROW = 28
const TOP = 44

const escapeXml = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** Returns a bar chart as SVG, with colours for light and dark backgrounds. */
export function drawBars(title: string, bars: readonly Bar[]): string {
  const max = Math.max(...bars.map(({ value }) => value))
  const rows = bars.map(({ label, value, text }, index) => {
    const y = TOP + index * ROW
    const width = Math.max(1, (value / max) * MAX_BAR_WIDTH).toFixed(1)
    return `  <text x="${LABELS - 10}" y="${y + 14}" text-anchor="end">${escapeXml(label)}</text>
  <rect x="${LABELS}" y="${y}" width="${width}" height="18" rx="2"/>
  <text x="${(LABELS + Number(width) + 8).toFixed(1)}" y="${y + 14}">${escapeXml(text)}</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${TOP + bars.length * ROW + 8}" role="img">
  <title>${escapeXml(title)}</title>
  <style>text { font: 13px sans-serif; fill: #777 } rect { fill: #4a7fb5 }</style>
  <text x="10" y="22" style="font-weight: bold">${escapeXml(title)}</text>
${rows.join('\n')}
</svg>
`
}
