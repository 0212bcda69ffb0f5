// Loaded before the program: its clock is CLOCK_OFFSET_MS ahead, as on a machine that is set wrong.
const RealDate = Date
const offset = Number(process.env.CLOCK_OFFSET_MS)

globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + offset)
    else super(...args)
  }

  static now() {
    return RealDate.now() + offset
  }
}
