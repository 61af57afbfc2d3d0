import type { Mutant } from "./Mutant.ts"

const circuits = ["test/laws/circuit/CircuitStoreRedis.test.ts"]
const limits = ["test/laws/ratelimit/StoreRedis.test.ts"]
const shared = ["test/laws/circuit/SharedCircuitBreaker.test.ts"]

const circuit = "src/layers/redis/lua/circuit.lua"
const usual = "src/layers/redis/lua/usual.lua"
const any = "src/layers/redis/lua/any.lua"
const own = "src/layers/redis/lua/own.lua"

/** Mistakes in what runs in Redis, and in what asks it. */
export const redisMutants: ReadonlyArray<Mutant> = [
  {
    name: "scripts go by the client's clock",
    law: 11,
    file: "src/layers/redis/LuaScript.ts",
    from: "readFileSync(join(import.meta.dirname, \"lua\", name), \"utf8\")",
    to: "readFileSync(join(import.meta.dirname, \"lua\", name), \"utf8\")"
      + ".replace(\"call('TIME')\", `{ ${Math.floor(Date.now() / 1_000)}, 0 }`)",
    tests: circuits
  },
  {
    name: "the script forgets to look at the generation",
    law: 20,
    file: circuit,
    from: "  if permit.generation ~= circuit.generation then return LATE, 0, 0, false end\n",
    to: "",
    tests: circuits
  },
  {
    name: "the script gives a probe too many",
    law: 19,
    file: circuit,
    from: "if running >= settings.probes then",
    to: "if running > settings.probes then",
    tests: circuits
  },
  {
    name: "in Redis the lease of a probe never ends",
    law: 21,
    file: circuit,
    from: "if one ~= probe and ends > now then",
    to: "if one ~= probe then",
    tests: circuits
  },
  {
    name: "in Redis an interrupted probe keeps its place",
    law: 21,
    file: circuit,
    from: "    circuit.leases = leasesWithout(circuit, permit.probe, now)\n",
    to: "    if counts then circuit.leases = leasesWithout(circuit, permit.probe, now) end\n",
    tests: circuits
  },
  {
    name: "in Redis the window is one bucket too long",
    law: 17,
    file: circuit,
    from: "if bucket[1] > index - settings.buckets then",
    to: "if bucket[1] >= index - settings.buckets then",
    tests: circuits
  },
  {
    name: "in Redis the open time grows beyond its cap",
    law: 25,
    file: circuit,
    from: "min(settings.mostOpen, ceil(settings.open * settings.growth ^ (openings - 1)))",
    to: "ceil(settings.open * settings.growth ^ (openings - 1))",
    tests: circuits
  },
  {
    name: "a circuit that Redis forgot begins again in generation one",
    law: 20,
    file: circuit,
    from: "max(1, time[1] * 1000000 + tonumber(time[2]))",
    to: "1",
    tests: circuits
  },
  {
    name: "in Redis a reset circuit remembers its openings",
    law: 24,
    file: circuit,
    from: "    circuit.openings = 0\n    enter(circuit, settings, CLOSED, circuit.generation + 1, now)\n    decision",
    to: "    enter(circuit, settings, CLOSED, circuit.generation + 1, now)\n    decision",
    tests: circuits
  },
  {
    name: "of several limits those that allow are taken where another refuses",
    law: 12,
    file: any,
    from: "    elseif decision[1] then\n",
    to: "    elseif decision[1] then\n      write(key, policy, decision[4], decision[5], decision[6])\n",
    tests: limits
  },
  {
    name: "in Redis a fixed window begins anew with each call",
    law: 4,
    file: usual,
    from: "if start == since then count = held end",
    to: "if start == since then count = 0 end",
    tests: limits
  },
  {
    name: "in Redis a fixed window begins anew with each call that comes with others",
    law: 4,
    file: own,
    from: "  if start < current then return current, 0, false end\n",
    to: "  if start <= current then return current, 0, false end\n",
    tests: limits
  },
  {
    name: "in Redis a window or a bucket goes on under another policy as if it were its own",
    law: 14,
    file: usual,
    from:
      "    local count = 0\n    since = now - now % window\n    if state then\n      if sub(state, 1, POLICY_BYTES) ~= id then break end\n",
    to: "    local count = 0\n    since = now - now % window\n    if state then\n",
    tests: limits
  },
  {
    name: "in Redis the key of a bucket ends before its debt is repaid",
    law: 1,
    file: usual,
    from: "    elseif now + ceil(owed / limit) <= keptUntil then\n",
    to: "    elseif now <= keptUntil then\n",
    tests: limits
  },
  {
    name: "in Redis the key of a log ends before its last call has left the window",
    law: 3,
    file: usual,
    from: "if low * 2 > count or keptUntil < now + window then",
    to: "if low * 2 > count or keptUntil < now then",
    tests: limits
  },
  {
    name: "in Redis a log forgets what was cut off from it",
    law: 3,
    file: usual,
    from: "        base = before\n",
    to: "",
    tests: limits
  },
  {
    name: "the permit of an interrupted call is not given back to the store",
    law: 45,
    file: "src/resilience/circuit/SharedRun.ts",
    from: "        outcome = outcomeOf(exit, classify)\n",
    to: "        outcome = outcomeOf(exit, classify)\n        if (outcome === \"Interrupted\") return undefined\n",
    tests: shared
  },
  {
    name: "a store that is away keeps every call waiting",
    law: undefined,
    file: "src/resilience/circuit/SharedCircuits.ts",
    from: "    if (now < this.#lostUntil) return false\n",
    to: "",
    tests: shared
  },
  {
    name: "an outage forgets that an operator holds the circuit",
    law: 24,
    file: "src/resilience/circuit/SharedCircuits.ts",
    from: "        return Automaton.force(settings, fresh, state, now)\n",
    to: "        return fresh\n",
    tests: shared
  }
]
