import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { encodedSize, ProducerBacklog } from "../../../src/layers/kafka/ProducerBacklog.ts"
import type { Batch, Located } from "../../../src/layers/kafka/ProducerBacklog.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Record = Schema.Struct({
  topic: Schema.Literals(["a", "b"]),
  partition: between(0, 2),
  bytes: between(0, 300)
})
const Publications = Schema.Array(Schema.Array(Record).check(Schema.isMaxLength(12), Schema.isMinLength(1))).check(
  Schema.isMaxLength(8)
)
/** What happens to each batch of a round, over and over. */
const Fates = Schema.Array(Schema.Literals(["acknowledged", "given up"])).check(Schema.isMinLength(1))

const limits = { maxBatchBytes: 400, maxRoundBytes: 1_000 }

const locate = (publication: number, index: number, { bytes, partition, topic }: typeof Record.Type): Located => ({
  partition,
  record: { topic, key: `${publication}/${index}`, value: new Uint8Array(bytes), headers: {} }
})

const bytesOf = (batch: Batch<string>) => batch.records.reduce((sum, record) => sum + encodedSize(record), 0)

describe("ProducerBacklog", () => {
  it.prop(
    "cuts rounds of at most one batch a partition within the limits, in order of arrival, and settles each publication once",
    [Publications, Fates],
    ([publications, fates]) => {
      const backlog = new ProducerBacklog<string>(limits)
      const settled = publications.map((): Array<string | undefined> => [])
      const all = publications.map((records, n) => records.map((record, i) => locate(n, i, record)))
      for (const [n, records] of all.entries()) {
        backlog.add({ records, arrivedAt: n, settle: (error) => settled[n]?.push(error) })
      }
      const sent: Array<Batch<string>> = []
      const failed = new Set<string>()
      for (let batches = backlog.cut(), fate = 0; batches.length > 0; batches = backlog.cut()) {
        const names = batches.map(({ partition, topic }) => `${topic}/${partition}`)
        assert.strictEqual(new Set(names).size, names.length)
        const records = batches.reduce((sum, batch) => sum + batch.records.length, 0)
        const bytes = batches.reduce((sum, batch) => sum + bytesOf(batch), 0)
        assert.isTrue(bytes <= limits.maxRoundBytes || records === 1, `a round of ${bytes} bytes`)
        for (const batch of batches) {
          assert.isTrue(bytesOf(batch) <= limits.maxBatchBytes || batch.records.length === 1)
          sent.push(batch)
          if (fates[fate++ % fates.length] === "acknowledged") backlog.acknowledge(batch)
          else {
            for (const { key } of batch.records) failed.add(key.split("/")[0] ?? "")
            backlog.giveUp(batch, "given up")
          }
        }
      }
      assert.isTrue(backlog.isEmpty)
      for (const [n, outcomes] of settled.entries()) {
        assert.deepStrictEqual(outcomes, [failed.has(String(n)) ? "given up" : undefined])
      }
      for (const topic of ["a", "b"]) {
        for (const partition of [0, 1, 2]) {
          const keys = sent
            .filter((batch) => batch.topic === topic && batch.partition === partition)
            .flatMap((batch) => batch.records.map(({ key }) => key))
          const wanted = all.flat().filter((one) => one.record.topic === topic && one.partition === partition)
            .map(({ record }) => record.key)
          // Of a publication that failed the rest is not sent; what is sent is in order.
          assert.deepStrictEqual(keys, wanted.filter((key) => keys.includes(key)))
          const whole = wanted.filter((key) => !failed.has(key.split("/")[0] ?? ""))
          assert.deepStrictEqual(keys.filter((key) => whole.includes(key)), whole)
        }
      }
    },
    { arbitrary: { runs: 1_000 } }
  )

  it("what is withdrawn is not sent, and what has waited for too long fails", () => {
    const backlog = new ProducerBacklog<string>(limits)
    const outcomes: Array<string> = []
    const add = (n: number) =>
      backlog.add({
        records: [locate(n, 0, { topic: "a", partition: 0, bytes: 1 })],
        arrivedAt: n,
        settle: (error) => outcomes.push(`${n}: ${error}`)
      })
    add(1)
    const withdraw = add(2)
    add(3)
    withdraw()
    backlog.expire(2, "too late")
    assert.deepStrictEqual(backlog.cut().flatMap(({ records }) => records.map(({ key }) => key)), ["3/0"])
    assert.deepStrictEqual(outcomes, ["1: too late"])
  })

  it("batches of a topic that refuses large ones become smaller", () => {
    const backlog = new ProducerBacklog<string>(limits)
    const records = Array.from({ length: 4 }, (_, i) => locate(0, i, { topic: "a", partition: 0, bytes: 50 }))
    backlog.add({ records, arrivedAt: 0, settle: () => {} })
    const [first] = backlog.cut()
    assert(first !== undefined)
    assert.strictEqual(first.records.length, 4)
    backlog.shrink(first)
    backlog.giveUp(first, "too large")
    backlog.add({ records, arrivedAt: 0, settle: () => {} })
    assert.deepStrictEqual(backlog.cut().map(({ records }) => records.length), [2])
    assert.deepStrictEqual(backlog.cut().map(({ records }) => records.length), [2])
  })
})
