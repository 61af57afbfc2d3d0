/**
 * Which partition a key belongs to: murmur2 over the key's UTF-8 bytes, as in Kafka's own default partitioner
 * (`org.apache.kafka.common.utils.Utils.murmur2`, `BuiltInPartitioner.partitionForKey`) and kafkajs'
 * `Partitioners.DefaultPartitioner`, so that every adapter and every foreign producer agree.
 */
const seed = 0x9747b28c
const multiplier = 0x5bd1e995

const encoder = new TextEncoder()

/** Austin Appleby's 32-bit MurmurHash2, as a signed integer. */
export const murmur2 = (data: Uint8Array): number => {
  const tail = data.length & ~3
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  let hash = seed ^ data.length
  for (let i = 0; i < tail; i += 4) {
    let word = Math.imul(view.getInt32(i, true), multiplier)
    word ^= word >>> 24
    hash = Math.imul(hash, multiplier) ^ Math.imul(word, multiplier)
  }
  if (tail < data.length) {
    for (let i = data.length - 1; i >= tail; i--) hash ^= view.getUint8(i) << ((i - tail) * 8)
    hash = Math.imul(hash, multiplier)
  }
  hash ^= hash >>> 13
  hash = Math.imul(hash, multiplier)
  return hash ^ (hash >>> 15)
}

/** The partition of `key` in a topic of `partitions` partitions, in `[0, partitions)`. */
export const partitionOf = (key: string, partitions: number): number =>
  (murmur2(encoder.encode(key)) & 0x7fffffff) % partitions
