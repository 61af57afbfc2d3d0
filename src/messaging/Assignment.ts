/**
 * How a group shares partitions: the pure decision of an adapter that coordinates its groups itself (Kafka's brokers
 * and clients do it on their own).
 */
export interface Member {
  readonly id: string
  readonly topics: ReadonlyArray<string>
}

export interface Holding {
  readonly topic: string
  readonly partition: number
  /** The member's id; `undefined` when the partition belongs to nobody. */
  readonly owner: string | undefined
}

const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/**
 * Says who should own each partition: exactly one of the members that subscribe to its topic, or nobody where there
 * is none. Shares of a topic differ by at most one; so do the totals of members with the same subscriptions. An owner
 * keeps what fits its share, so nothing moves without need and a settled group stays settled.
 */
export const assign = (members: ReadonlyArray<Member>, holdings: ReadonlyArray<Holding>): ReadonlyArray<Holding> => {
  const totals = new Map(members.map(({ id }) => [id, 0]))
  const byTopic = Map.groupBy(holdings, ({ topic }) => topic)
  return [...byTopic.keys()].toSorted(compare).flatMap((topic) => {
    const partitions = (byTopic.get(topic) ?? []).toSorted((a, b) => a.partition - b.partition)
    const held = Map.groupBy(partitions, ({ owner }) => owner)
    const heldBy = (id: string) => held.get(id)?.length ?? 0
    const total = (id: string) => totals.get(id) ?? 0
    const eligible = members
      .filter((member) => member.topics.includes(topic))
      .map(({ id }) => id)
      .toSorted((a, b) => total(a) - total(b) || heldBy(b) - heldBy(a) || compare(a, b))
    if (eligible.length === 0) return partitions.map((holding) => ({ ...holding, owner: undefined }))

    const least = Math.floor(partitions.length / eligible.length)
    const extras = partitions.length % eligible.length
    const room = new Map(eligible.map((id, index) => [id, index < extras ? least + 1 : least]))
    for (const [id, share] of room) totals.set(id, total(id) + share)

    const take = (id: string): boolean => {
      const left = room.get(id) ?? 0
      if (left === 0) return false
      room.set(id, left - 1)
      return true
    }
    const kept = partitions.map(({ owner }) => owner !== undefined && take(owner) ? owner : undefined)
    return partitions.map((holding, index) => ({ ...holding, owner: kept[index] ?? eligible.find(take) }))
  })
}

/** What one member may do about its share: take what nobody owns, and give back what is another's. */
export const shareOf = <H extends Holding>(
  member: string,
  members: ReadonlyArray<Member>,
  holdings: ReadonlyArray<H>
): { readonly free: ReadonlyArray<H>; readonly excess: ReadonlyArray<H> } => {
  const owners = new Map(
    assign(members, holdings).map(({ owner, partition, topic }) => [`${topic}/${partition}`, owner])
  )
  const isShare = ({ partition, topic }: H) => owners.get(`${topic}/${partition}`) === member
  return {
    free: holdings.filter((holding) => holding.owner === undefined && isShare(holding)),
    excess: holdings.filter((holding) => holding.owner === member && !isShare(holding))
  }
}
