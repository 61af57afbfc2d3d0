/**
 * How the members of a group share partitions, as they tell each other through the group's coordinator. Rebalances are
 * cooperative, after KIP-429 ("Incremental Cooperative Rebalancing"): a member says what it owns, and goes on with it. What is
 * to move is at first assigned to nobody; its owner finishes, gives it back and joins again, and only then the next
 * owner gets it. What stays is never interrupted.
 */
import { Option, Schema } from "effect"
import { AssignerProtocol } from "kafkajs"
import { assign } from "../../messaging/Assignment.ts"
import type { Holding } from "../../messaging/Assignment.ts"

/** Members with another one can't be in the same group. */
export const protocolName = "maas-cooperative"
const version = 0

export interface Partition {
  readonly topic: string
  readonly partition: number
}

const Claim = Schema.fromJsonString(Schema.Struct({
  /** The generation of the group in which the member got what it owns. */
  generation: Schema.Int,
  owned: Schema.Array(Schema.Struct({ topic: Schema.String, partition: Schema.Int }))
}))
export type Claim = typeof Claim.Type

const encodeClaim = Schema.encodeSync(Claim)
const decodeClaim = Schema.decodeUnknownOption(Claim)
const nothing: Claim = { generation: -1, owned: [] }

/** What a member says of itself when it joins. */
export const encodeMember = (topics: ReadonlyArray<string>, claim: Claim): Buffer =>
  AssignerProtocol.MemberMetadata.encode({ version, topics: [...topics], userData: Buffer.from(encodeClaim(claim)) })

export interface JoinedMember {
  readonly memberId: string
  readonly memberMetadata: Buffer
}

const decodeMember = ({ memberId, memberMetadata }: JoinedMember) => {
  const metadata = AssignerProtocol.MemberMetadata.decode(memberMetadata)
  const claim = Option.getOrElse(decodeClaim(metadata?.userData.toString()), () => nothing)
  return { id: memberId, topics: metadata?.topics ?? [], claim }
}

/** The topics that any of the members wants. */
export const topicsOf = (members: ReadonlyArray<JoinedMember>): ReadonlyArray<string> => [
  ...new Set(members.flatMap((member) => decodeMember(member).topics))
]

/** The leader's decision: what each member may work on, now. */
export const share = (
  joined: ReadonlyArray<JoinedMember>,
  partitions: ReadonlyMap<string, number>
): ReadonlyMap<string, ReadonlyArray<Partition>> => {
  const members = joined.map(decodeMember)
  // A claim of an earlier generation is of a member that has missed something.
  const owners = new Map<string, string>()
  for (const { claim, id } of members.toSorted((a, b) => a.claim.generation - b.claim.generation)) {
    for (const { partition, topic } of claim.owned) owners.set(`${topic}/${partition}`, id)
  }
  const holdings = [...partitions].flatMap(([topic, count]) =>
    Array.from({ length: count }, (_, partition): Holding => ({
      topic,
      partition,
      owner: owners.get(`${topic}/${partition}`)
    }))
  )
  const current = new Map(holdings.map((holding) => [`${holding.topic}/${holding.partition}`, holding.owner]))
  const shares = new Map(members.map(({ id }): [string, Array<Partition>] => [id, []]))
  for (const { owner, partition, topic } of assign(members, holdings)) {
    const now = current.get(`${topic}/${partition}`)
    if (owner !== undefined && (now === undefined || now === owner)) shares.get(owner)?.push({ topic, partition })
  }
  return shares
}

export const encodeShare = (share: ReadonlyArray<Partition>): Buffer =>
  AssignerProtocol.MemberAssignment.encode({
    version,
    assignment: Object.fromEntries(
      [...Map.groupBy(share, ({ topic }) => topic)].map((
        [topic, all]
      ) => [topic, all.map(({ partition }) => partition)])
    ),
    userData: Buffer.alloc(0)
  })

export const decodeShare = (share: Buffer): ReadonlyArray<Partition> =>
  Object.entries(AssignerProtocol.MemberAssignment.decode(share)?.assignment ?? {})
    .flatMap(([topic, partitions]) => partitions.map((partition) => ({ topic, partition })))
