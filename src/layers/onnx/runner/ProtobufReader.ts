/**
 * Reads the protobuf wire format without knowing a schema and without building anything.
 * https://protobuf.dev/programming-guides/encoding/
 */

/** The bytes are no protobuf message; `truncated` when they end in the middle of a field that is fine so far. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage"
  readonly truncated: boolean
  constructor(message: string, truncated: boolean) {
    super(message)
    this.truncated = truncated
  }
}

/** One field: `varint` for wire type 0, `bytes` for wire type 2; fixed-width fields have neither. */
export interface Field {
  readonly number: number
  readonly wireType: number
  readonly varint: bigint
  readonly bytes: Uint8Array
}

const nothing = new Uint8Array(0)

/** The fields of a message, in the order of the bytes. Throws `MalformedMessage`. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  let offset = 0

  const readVarint = (): bigint => {
    const first = message[offset]
    if (first !== undefined && first < 0x80) {
      offset++
      return BigInt(first)
    }
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = message[offset++]
      if (byte === undefined) throw new MalformedMessage("the file ends in the middle of a number", true)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
    throw new MalformedMessage("a number of more than ten bytes", false)
  }

  const skip = (size: number): Uint8Array => {
    if (offset + size > message.byteLength) {
      throw new MalformedMessage(`a field of ${size} bytes where ${message.byteLength - offset} are left`, true)
    }
    const bytes = message.subarray(offset, offset + size)
    offset += size
    return bytes
  }

  while (offset < message.byteLength) {
    const tag = readVarint()
    const number = Number(tag >> 3n)
    const wireType = Number(tag & 7n)
    if (number === 0 || number > 536_870_911) throw new MalformedMessage(`a field with the number ${number}`, false)
    switch (wireType) {
      case 0:
        yield { number, wireType, varint: readVarint(), bytes: nothing }
        break
      case 1:
        skip(8)
        yield { number, wireType, varint: 0n, bytes: nothing }
        break
      case 2:
        yield { number, wireType, varint: 0n, bytes: skip(Number(readVarint())) }
        break
      case 5:
        skip(4)
        yield { number, wireType, varint: 0n, bytes: nothing }
        break
      default:
        throw new MalformedMessage(`a field of the unknown wire type ${wireType}`, false)
    }
  }
}
