import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as GroupProtocol from "../../../src/layers/kafka/GroupProtocol.ts"

const topics = ["orders", "payments"] as const
const partitions = new Map([["orders", 6], ["payments", 3]])
const everything = [...partitions].flatMap(([topic, count]) =>
  Array.from({ length: count }, (_, partition) => `${topic}/${partition}`)
)

const Member = Schema.Struct({
  id: Schema.Literals(["a", "b", "c", "d"]),
  topics: Schema.Array(Schema.Literals(topics)).check(Schema.isMinLength(1), Schema.isMaxLength(2))
})
const Group = Schema.Array(Member).check(Schema.isMinLength(1), Schema.isMaxLength(4))
/** Who comes and goes, one group after the other. */
const History = Schema.Array(Group).check(Schema.isMinLength(1), Schema.isMaxLength(5))

const nameOf = ({ partition, topic }: GroupProtocol.Partition) => `${topic}/${partition}`
const distinct = (group: typeof Group.Type) => [...new Map(group.map((member) => [member.id, member])).values()]

/** What each member holds, by its id; the generation in which it last joined. */
interface State {
  readonly generation: number
  readonly held: ReadonlyMap<string, ReadonlyArray<GroupProtocol.Partition>>
}

/** One generation: all join with what they hold, get their shares through the wire format, and give back the rest. */
const rebalance = (group: typeof Group.Type, { generation, held }: State) => {
  const joined = group.map(({ id, topics }) => ({
    memberId: id,
    memberMetadata: GroupProtocol.encodeMember(topics, { generation, owned: held.get(id) ?? [] })
  }))
  const shares = new Map(
    [...GroupProtocol.share(joined, partitions)].map(([id, share]) => [
      id,
      GroupProtocol.decodeShare(GroupProtocol.encodeShare(share))
    ])
  )
  return { generation: generation + 1, held: shares } satisfies State
}

describe("GroupProtocol", () => {
  it.prop(
    "law 57: nobody gets what another still holds, nothing moves twice, and two generations after a change the group rests",
    [History],
    ([history]) => {
      let state: State = { generation: 0, held: new Map() }
      for (const members of history) {
        const group = distinct(members)
        const before = state
        const present = new Set<string>(group.map(({ id }) => id))
        const next = rebalance(group, state)
        const owners = new Map<string, string>()
        for (const [id, share] of next.held) {
          for (const partition of share) {
            const name = nameOf(partition)
            assert.isFalse(owners.has(name), `${name} has two owners`)
            owners.set(name, id)
            for (const [other, held] of before.held) {
              if (other === id || !present.has(other)) continue
              assert.notInclude(held.map(nameOf), name, `${id} got ${name}, which ${other} holds`)
            }
          }
        }
        const settled = rebalance(group, next)
        for (const [id, share] of next.held) {
          assert.includeMembers(settled.held.get(id)?.map(nameOf) ?? [], share.map(nameOf), "it moved twice")
        }
        const rest = rebalance(group, settled)
        assert.deepStrictEqual(rest.held, settled.held)
        const wanted = everything.filter((name) =>
          group.some(({ topics }) => topics.some((one) => name.startsWith(one)))
        )
        assert.sameMembers([...rest.held.values()].flat().map(nameOf), wanted)
        state = rest
      }
    },
    { arbitrary: { runs: 1_000 } }
  )

  it("of two members that claim a partition the one with the later generation has it", () => {
    const claim = (memberId: string, generation: number) => ({
      memberId,
      memberMetadata: GroupProtocol.encodeMember(["payments"], {
        generation,
        owned: [{ topic: "payments", partition: 0 }]
      })
    })
    for (const joined of [[claim("a", 3), claim("b", 7)], [claim("b", 7), claim("a", 3)]]) {
      const shares = GroupProtocol.share(joined, new Map([["payments", 1]]))
      assert.deepStrictEqual([shares.get("a"), shares.get("b")], [[], [{ topic: "payments", partition: 0 }]])
    }
  })

  it("a member that says nothing of what it holds holds nothing", () => {
    const memberMetadata = GroupProtocol.encodeMember(["payments"], { generation: 1, owned: [] })
    // Its last bytes are the claim.
    memberMetadata.fill(0xff, memberMetadata.length - 4)
    const shares = GroupProtocol.share([{ memberId: "a", memberMetadata }], new Map([["payments", 2]]))
    assert.strictEqual(shares.get("a")?.length, 2)
  })
})
