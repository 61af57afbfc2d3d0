-- The cores of src/resilience/ratelimit once more, with their states in Redis. What is decided, and why, is said there;
-- here is only what is Redis' own. Every number is a whole one below 2^53, which a Lua number holds exactly.

local call, pack, unpack, sub = redis.call, struct.pack, struct.unpack, string.sub
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local KEYS, ARGV = KEYS, ARGV

local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)

-- The algorithms, as they are numbered in states and arguments. 3 is the token bucket and 4 the leaky bucket: the same
-- but for the name (law 2).
local FIXED, LOG = 1, 2

-- A state begins with its policy, in 25 bytes. Windows and buckets have two more numbers: of a window its start and
-- count; of a bucket the time it was last changed, and its debt then, in 1/window of a token.
local POLICY, PAIR, BODY = '<Bddd', '<dd', 26

local function policyOf(algorithm, limit, window, capacity)
  return {
    algorithm = algorithm,
    limit = limit,
    window = window,
    capacity = capacity,
    id = pack(POLICY, algorithm, limit, window, capacity)
  }
end

-- The policies of the call by their numbers, which are texts here: "1", "2". ARGV begins with how many there are, and
-- five arguments for each; the last is how long a state is kept, in milliseconds. Answers with where it goes on, too.
local function policiesOfCall()
  local policies, at = {}, 2
  for index = 1, tonumber(ARGV[1]) do
    local policy =
      policyOf(tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]))
    policy.forgetsAfter = ARGV[at + 4]
    policies[tostring(index)] = policy
    at = at + 5
  end
  return policies, at
end

-- A bucket that stands still until a clock that is `behind` has caught up is kept for so much longer.
local function write(key, policy, state, behind)
  local forgetsAfter = policy.forgetsAfter
  if behind and behind > 0 then forgetsAfter = string.format('%.0f', forgetsAfter + behind) end
  call('SET', key, state, 'PX', forgetsAfter)
end
