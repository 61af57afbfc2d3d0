import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { cutParts, encodeFrame, FrameDecoder, frameSize } from "../../../src/layers/onnx/protocol/Frame.ts"

const Size = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40_000 }))
const Cut = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 70_000 }))
const Frames = Schema.Array(Schema.Struct({ sizes: Schema.Array(Size), word: Schema.String }))

const bytesOf = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, index) => index * 31 + size)

const joined = (buffers: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(buffers))

/** What the decoder hands out, copied, for bytes that arrive `cut` at a time. */
const decode = (bytes: Uint8Array, cut: number, maxBytes = 1e9) => {
  const frames: Array<readonly [header: string, body: Uint8Array]> = []
  const decoder = new FrameDecoder(maxBytes, (header, body) => frames.push([header, body.slice()]))
  for (let offset = 0; offset < bytes.byteLength; offset += cut) decoder.push(bytes.subarray(offset, offset + cut))
  return frames
}

describe("Frame", () => {
  it.prop("frames come out as they went in, however the stream is cut", [Frames, Cut], ([frames, cut]) => {
    const stream = joined(frames.flatMap(({ sizes, word }) => encodeFrame({ sizes, word }, sizes.map(bytesOf))))
    const decoded = decode(stream, cut)
    assert.deepStrictEqual(
      decoded.map(([header]) => header),
      frames.map(({ sizes, word }) => JSON.stringify({ sizes, word }))
    )
    for (const [index, { sizes }] of frames.entries()) {
      const parts = cutParts(decoded[index]?.[1] ?? new Uint8Array(), sizes)
      assert.deepStrictEqual(parts.map((part) => new Uint8Array(part)), sizes.map(bytesOf))
    }
  })

  it("works byte by byte", () => {
    const stream = joined([...encodeFrame({ a: 1 }, [bytesOf(3)]), ...encodeFrame({ b: 2 }, [])])
    assert.deepStrictEqual(decode(stream, 1).map(([header]) => header), ["{\"a\":1}", "{\"b\":2}"])
  })

  it("pads with zeros, whatever memory held before", () => {
    for (let time = 0; time < 200; time++) {
      Buffer.allocUnsafe(3_000).fill(0xff)
      const frame = joined(encodeFrame({ a: "é" }, [bytesOf(3), bytesOf(9)]))
      const [header, ...ends] = [8 + "{\"a\":\"é\"}".length + 1, 24 + 3, 32 + 9]
      assert.deepStrictEqual(frame.subarray(header, 24), new Uint8Array(24 - (header ?? 0)))
      for (const end of ends) assert.isTrue(frame.subarray(end, Math.ceil(end / 8) * 8).every((byte) => byte === 0))
    }
  })

  it.prop("every part lies at a multiple of 8, and sizes are known beforehand", [Schema.Array(Size)], ([sizes]) => {
    const frame = joined(encodeFrame({ sizes }, sizes.map(bytesOf)))
    assert.strictEqual(frame.byteLength, frameSize({ sizes }, sizes))
    assert.strictEqual(frame.byteLength % 8, 0)
    new FrameDecoder(1e9, (_, body) => {
      for (const part of cutParts(body, sizes)) {
        assert.isTrue(part.byteLength === 0 || (part.byteOffset - frame.byteOffset) % 8 === 0)
      }
    }).push(frame)
  })

  it("refuses frames that are too large, too small, or contradict themselves, before it holds them", () => {
    const claim = (total: number, header: number) => {
      const bytes = new Uint8Array(16)
      new DataView(bytes.buffer).setUint32(0, total, true)
      new DataView(bytes.buffer).setUint32(4, header, true)
      return bytes
    }
    for (const cut of [1, 16]) {
      assert.throws(() => decode(claim(4_294_967_288, 4), cut, 1024), /at most 1024/)
      assert.throws(() => decode(claim(8, 0), cut), /frame of 8 bytes/)
      assert.throws(() => decode(claim(17, 4), cut), /frame of 17 bytes/)
      assert.throws(() => decode(claim(16, 4_000_000_000), cut), /header of 4000000000 bytes/)
    }
    assert.throws(() => cutParts(new Uint8Array(8), [8, 1]), /longer than the frame/)
  })
})
