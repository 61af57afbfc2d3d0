/** What a member says to the coordinator of its group, and hears from it. */
import { Duration, Effect } from "effect"
import type { Apis } from "kafkajs/src/protocol/requests/index.js"
import type { Subscription } from "../../messaging/EventLog.ts"
import * as GroupProtocol from "./GroupProtocol.ts"
import type { KafkaClient } from "./KafkaClient.ts"
import type { Address } from "./KafkaConnection.ts"
import { afterElections, checked, isMisdirected, ofCode } from "./KafkaFailure.ts"
import type { KafkaFailure } from "./KafkaFailure.ts"

/** How the coordinator knows a member: by its id, in a generation of the group. */
export interface MemberIdentity {
  readonly id: string
  readonly generation: number
}

export interface Entered extends MemberIdentity {
  readonly share: ReadonlyArray<GroupProtocol.Partition>
}

export interface GroupRequests {
  /**
   * Joins the group's next generation, once all members have; and the one after it, should the group change meanwhile. An
   * empty id is for who is new: `named` hears the id that the broker gives, and will take for a member, whatever happens
   * next.
   */
  readonly enter: (
    id: string,
    claim: GroupProtocol.Claim,
    named: (id: string) => void
  ) => Effect.Effect<Entered, KafkaFailure>
  readonly heartbeat: (member: MemberIdentity) => Effect.Effect<void, KafkaFailure>
  readonly leave: (id: string) => Effect.Effect<void, KafkaFailure>
  readonly commit: (
    member: MemberIdentity,
    positions: ReadonlyArray<GroupProtocol.Partition & { readonly offset: number }>
  ) => Effect.Effect<void, KafkaFailure>
}

/** The group may change again while it changes. */
const maxGenerations = 10

/** The broker does not know the member, or no longer. */
export const isOut = ({ code }: KafkaFailure): boolean => code === "UNKNOWN_MEMBER_ID" || code === "FENCED_INSTANCE_ID"

/** The group changes, or has changed, and the member is to join again under the id that it has. */
export const isRebalance = ({ code }: KafkaFailure): boolean =>
  code === "REBALANCE_IN_PROGRESS" || code === "ILLEGAL_GENERATION"

/**
 * `membership` needs connections of its own: brokers answer a connection's requests in turn, and keep who joins waiting
 * until all have joined. `client` serves what is answered at once.
 */
export const make = (
  membership: KafkaClient,
  client: KafkaClient,
  { group: groupId, topics }: Pick<Subscription, "group" | "topics">,
  sessionTimeout: Duration.Duration
): GroupRequests => {
  const sessionMillis = Duration.toMillis(sessionTimeout)
  let coordinator: Address | undefined

  const find = Effect.suspend(() =>
    coordinator !== undefined
      ? Effect.succeed(coordinator)
      : Effect.map(membership.coordinator(groupId), (found) => coordinator = found)
  )

  /** Who coordinates is looked up again when the one that was asked does not. */
  const asked = <A>(ask: (coordinator: Address) => Effect.Effect<A, KafkaFailure>) =>
    afterElections(Effect.tapError(Effect.flatMap(find, ask), (failure) =>
      Effect.sync(() => {
        if (isMisdirected(failure)) coordinator = undefined
      })))

  const join = (
    id: string,
    metadata: Buffer,
    named: (id: string) => void
  ): Effect.Effect<Apis["JoinGroup"]["response"], KafkaFailure> =>
    asked((address) =>
      membership.ask(address, "JoinGroup", {
        groupId,
        sessionTimeout: sessionMillis,
        rebalanceTimeout: sessionMillis,
        memberId: id,
        protocolType: "consumer",
        groupProtocols: [{ name: GroupProtocol.protocolName, metadata }]
      }, sessionTimeout).pipe(
        Effect.tap(({ memberId }) => Effect.sync(() => memberId === "" ? undefined : named(memberId))),
        Effect.flatMap((response) =>
          // KIP-394: the broker gives out an id first.
          ofCode(response.errorCode)?.code === "MEMBER_ID_REQUIRED"
            ? join(response.memberId, metadata, named)
            : checked(response)
        )
      )
    )

  const decide = Effect.fnUntraced(function*(members: ReadonlyArray<GroupProtocol.JoinedMember>) {
    const partitions = new Map<string, number>()
    for (const topic of GroupProtocol.topicsOf(members)) {
      partitions.set(topic, (yield* client.leaders(topic)).length)
    }
    return [...GroupProtocol.share(members, partitions)].map(([memberId, share]) => ({
      memberId,
      memberAssignment: GroupProtocol.encodeShare(share)
    }))
  })

  return {
    enter: (id, claim, named) => {
      const metadata = GroupProtocol.encodeMember(topics, claim)
      let known = id
      const enterOnce = Effect.gen(function*() {
        const joined = yield* join(known, metadata, (given) => {
          known = given
          named(given)
        })
        const { generationId, leaderId, memberId, members } = joined
        const groupAssignment = leaderId === memberId ? yield* decide(members) : []
        const { memberAssignment } = yield* asked((address) =>
          membership.ask(
            address,
            "SyncGroup",
            { groupId, generationId, memberId, groupAssignment },
            sessionTimeout
          ).pipe(Effect.flatMap(checked))
        )
        return { id: memberId, generation: generationId, share: GroupProtocol.decodeShare(memberAssignment) }
      })
      return Effect.retry(enterOnce, { while: isRebalance, times: maxGenerations })
    },

    heartbeat: ({ generation, id }) =>
      asked((address) =>
        membership.ask(address, "Heartbeat", { groupId, memberId: id, groupGenerationId: generation }).pipe(
          Effect.flatMap(checked),
          Effect.asVoid
        )
      ),

    leave: (id) =>
      asked((address) =>
        membership.ask(address, "LeaveGroup", { groupId, memberId: id }).pipe(Effect.flatMap(checked), Effect.asVoid)
      ),

    commit: ({ generation, id }, positions) =>
      asked(Effect.fnUntraced(function*(address) {
        const { responses } = yield* client.ask(address, "OffsetCommit", {
          groupId,
          groupGenerationId: generation,
          memberId: id,
          topics: [...Map.groupBy(positions, ({ topic }) => topic)].map(([topic, partitions]) => ({
            topic,
            partitions
          }))
        })
        yield* Effect.forEach(responses.flatMap(({ partitions }) => partitions), checked, { discard: true })
      }))
  }
}
