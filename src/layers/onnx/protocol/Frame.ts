/**
 * Frames between the platform and a runner: one stream of bytes each way, over a socket pair.
 *
 * ```
 * u32 length of the frame, itself included, a multiple of 8 | u32 length of the header | header, UTF-8 JSON | padding |
 * part | padding | part | padding | …
 * ```
 * Numbers are little-endian. Every part starts at a multiple of 8 from the start of its frame, so that typed arrays can
 * view it without a copy where the frame itself is aligned. The header says how long each part is.
 *
 * Imported by the runner as well, which stays small by importing no library.
 */

const alignment = 8
const prefix = 8
/** Frames up to this many bytes are copied into one buffer; larger parts are written from where they are. */
const copyLimit = 65_536

const utf8Decoder = new TextDecoder()

/** `size` and the padding behind it. */
export const padded = (size: number): number => Math.ceil(size / alignment) * alignment

/** The buffers to write, in order, for one frame. Parts are not copied when they are large, so leave them unchanged. */
export const encodeFrame = (header: object, parts: ReadonlyArray<Uint8Array>): Array<Uint8Array> => {
  const json = JSON.stringify(header)
  const length = Buffer.byteLength(json)
  const head = padded(prefix + length)
  const total = parts.reduce((size, part) => size + padded(part.byteLength), head)
  const small = total <= copyLimit
  // From Node's pool where it is small, because memory of its own costs each frame more than all the rest. What the pool
  // held before is for nobody to read, so padding is overwritten.
  const first = Buffer.allocUnsafe(small ? total : head)
  first.writeUInt32LE(total, 0)
  first.writeUInt32LE(length, 4)
  first.write(json, prefix)
  first.fill(0, prefix + length, head)
  const buffers: Array<Uint8Array> = [first]
  let offset = head
  for (const part of parts) {
    const end = offset + part.byteLength
    const next = offset + padded(part.byteLength)
    if (small) {
      first.set(part, offset)
      first.fill(0, end, next)
    } else buffers.push(part, new Uint8Array(next - end))
    offset = next
  }
  return buffers
}

/** The size of a frame with this header, in bytes, before it is made. */
export const frameSize = (header: object, sizes: ReadonlyArray<number>): number =>
  sizes.reduce((size, part) => size + padded(part), padded(prefix + Buffer.byteLength(JSON.stringify(header))))

/** What is wrong with the bytes that arrived. Nothing after it can be understood. */
export class BrokenFrame extends Error {
  override readonly name = "BrokenFrame"
}

export type OnFrame = (header: string, body: Uint8Array) => void

/**
 * Cuts a stream of bytes into frames. Holds at most one frame of at most `maxBytes`; throws `BrokenFrame` on one that
 * claims to be larger or contradicts itself.
 */
export class FrameDecoder {
  readonly #maxBytes: number
  readonly #onFrame: OnFrame
  /** The start of a frame whose length is not known yet. */
  #start = new Uint8Array(prefix)
  #startFilled = 0
  /** A frame that is still arriving. */
  #partial: Uint8Array | undefined
  #filled = 0

  constructor(maxBytes: number, onFrame: OnFrame) {
    this.#maxBytes = maxBytes
    this.#onFrame = onFrame
  }

  /** Bodies handed out are views of `chunk` where a frame lies whole in it. */
  push(chunk: Uint8Array): void {
    let offset = 0
    while (offset < chunk.byteLength) {
      if (this.#partial !== undefined) {
        const taken = chunk.subarray(offset, offset + this.#partial.byteLength - this.#filled)
        this.#partial.set(taken, this.#filled)
        this.#filled += taken.byteLength
        offset += taken.byteLength
        if (this.#filled === this.#partial.byteLength) {
          const frame = this.#partial
          this.#partial = undefined
          this.#emit(frame)
        }
      } else if (this.#startFilled === 0 && chunk.byteLength - offset >= prefix) {
        const total = this.#total(chunk, offset)
        if (offset + total <= chunk.byteLength) {
          this.#emit(chunk.subarray(offset, offset + total))
          offset += total
        } else {
          this.#partial = new Uint8Array(total)
          this.#filled = 0
        }
      } else {
        const taken = chunk.subarray(offset, offset + prefix - this.#startFilled)
        this.#start.set(taken, this.#startFilled)
        this.#startFilled += taken.byteLength
        offset += taken.byteLength
        if (this.#startFilled === prefix) {
          this.#partial = new Uint8Array(this.#total(this.#start, 0))
          this.#partial.set(this.#start)
          this.#filled = prefix
          this.#startFilled = 0
        }
      }
    }
  }

  #total(bytes: Uint8Array, offset: number): number {
    const total = new DataView(bytes.buffer, bytes.byteOffset).getUint32(offset, true)
    if (total <= prefix || total % alignment !== 0 || total > this.#maxBytes) {
      throw new BrokenFrame(`a frame of ${total} bytes; at most ${this.#maxBytes} are taken`)
    }
    return total
  }

  #emit(frame: Uint8Array): void {
    const length = new DataView(frame.buffer, frame.byteOffset).getUint32(4, true)
    const head = padded(prefix + length)
    if (head > frame.byteLength) throw new BrokenFrame(`a header of ${length} bytes in a frame of ${frame.byteLength}`)
    this.#onFrame(utf8Decoder.decode(frame.subarray(prefix, prefix + length)), frame.subarray(head))
  }
}

/** Cuts a frame's body into parts of the given sizes, in bytes. Views, not copies. */
export const cutParts = (body: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  let offset = 0
  return sizes.map((size) => {
    const end = offset + size
    if (end > body.byteLength) throw new BrokenFrame("the parts are longer than the frame")
    const part = body.subarray(offset, end)
    offset = padded(end)
    return part
  })
}
