import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { murmur2, partitionOf } from "../../src/messaging/Partitioner.ts"

const utf8 = (text: string) => new TextEncoder().encode(text)

describe("Partitioner", () => {
  // The vectors of Kafka's own test, org.apache.kafka.common.utils.UtilsTest.testMurmur2.
  const vectors: ReadonlyArray<readonly [text: string, hash: number]> = [
    ["21", -973932308],
    ["foobar", -790332482],
    ["a-little-bit-long-string", -985981536],
    ["a-little-bit-longer-string", -1486304829],
    ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
    ["abc", 479470107]
  ]
  for (const [text, hash] of vectors) {
    it(`murmur2 of "${text}" is Kafka's`, () => {
      assert.strictEqual(murmur2(utf8(text)), hash)
    })
  }

  it("hashes a view into a larger buffer like its own bytes", () => {
    assert.strictEqual(murmur2(utf8("--foobar--").subarray(2, 8)), -790332482)
  })

  const Partitions = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 64 }))

  it.prop("every key has one partition of the topic", [Schema.String, Partitions], ([key, partitions]) => {
    const partition = partitionOf(key, partitions)
    assert.isTrue(Number.isInteger(partition) && partition >= 0 && partition < partitions)
    assert.strictEqual(partitionOf(key, partitions), partition)
  })

  it("spreads keys over all partitions", () => {
    const counts = Array.from({ length: 8 }, () => 0)
    for (let i = 0; i < 8_000; i++) {
      const partition = partitionOf(`model-${i}`, 8)
      counts[partition] = (counts[partition] ?? 0) + 1
    }
    for (const count of counts) assert.isTrue(count > 850 && count < 1_150, `counts ${counts.join(", ")}`)
  })
})
