import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { assign } from "../../src/messaging/Assignment.ts"
import type { Holding } from "../../src/messaging/Assignment.ts"

const Id = Schema.Literals(["a", "b", "c", "d", "e"])
const TopicName = Schema.Literals(["orders", "payments", "refunds"])
const Member = Schema.Struct({ id: Id, topics: Schema.Array(TopicName) })
const Group = Schema.Array(Member).check(Schema.isMaxLength(5))
const Sizes = Schema.Struct({
  orders: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })),
  payments: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 })),
  refunds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
})
/** The owner before, by position; `gone` has left the group. */
const Owners = Schema.Array(Schema.Literals(["a", "b", "c", "d", "e", "gone", "nobody"]))

const distinct = (group: typeof Group.Type) => [...new Map(group.map((member) => [member.id, member])).values()]

const holdingsOf = (sizes: typeof Sizes.Type, owners: typeof Owners.Type): ReadonlyArray<Holding> =>
  Object.entries(sizes).flatMap(([topic, size]) =>
    Array.from({ length: size }, (_, partition) => {
      const owner = owners[(partition + topic.length) % Math.max(owners.length, 1)]
      return { topic, partition, owner: owner === "nobody" ? undefined : owner }
    })
  )

const countOf = (holdings: ReadonlyArray<Holding>, owner: string, topic?: string) =>
  holdings.filter((holding) => holding.owner === owner && (topic === undefined || holding.topic === topic)).length

const spread = (counts: ReadonlyArray<number>) => counts.length === 0 ? 0 : Math.max(...counts) - Math.min(...counts)

describe("Assignment", () => {
  it.prop("each partition goes to one subscriber of its topic, in even shares", [Group, Sizes, Owners], (
    [group, sizes, owners]
  ) => {
    const members = distinct(group)
    const before = holdingsOf(sizes, owners)
    const after = assign(members, before)
    const name = ({ topic, partition }: Holding) => `${topic}/${partition}`
    assert.deepStrictEqual(after.map(name).toSorted(), before.map(name).toSorted())
    for (const topic of Object.keys(sizes)) {
      const eligible = members.filter((member) => member.topics.some((name) => name === topic)).map(({ id }) => id)
      for (const holding of after.filter((holding) => holding.topic === topic)) {
        if (eligible.length === 0) assert.isUndefined(holding.owner)
        else assert.include(eligible.map(String), holding.owner)
      }
      assert.isAtMost(spread(eligible.map((id) => countOf(after, id, topic))), 1)
    }
  })

  it.prop("members that subscribe alike have totals within one", [Schema.Array(Id), Sizes, Owners], (
    [ids, sizes, owners]
  ) => {
    const members = [...new Set(ids)].map((id) => ({ id, topics: ["orders", "payments", "refunds"] }))
    const after = assign(members, holdingsOf(sizes, owners))
    assert.isAtMost(spread(members.map(({ id }) => countOf(after, id))), 1)
  })

  it.prop("a settled group stays settled, whatever the order of its members", [Group, Sizes, Owners], (
    [group, sizes, owners]
  ) => {
    const members = distinct(group)
    const settled = assign(members, holdingsOf(sizes, owners))
    assert.deepStrictEqual(assign(members.toReversed(), settled.toReversed()), settled)
  })

  it.prop("when a member joins, partitions move only to it", [Sizes], ([sizes]) => {
    const topics = ["orders", "payments", "refunds"]
    const two = [{ id: "a", topics }, { id: "b", topics }]
    const before = assign(two, holdingsOf(sizes, []))
    const after = assign([...two, { id: "c", topics }], before)
    const ownerOf = (holding: Holding) =>
      before.find(({ topic, partition }) => topic === holding.topic && partition === holding.partition)?.owner
    // Per topic nothing moves between the old members but what evening out the remainders over topics needs.
    const movedBetweenOld = after.filter((holding) => holding.owner !== "c" && holding.owner !== ownerOf(holding))
    assert.isAtMost(movedBetweenOld.length, topics.length)
  })
})
