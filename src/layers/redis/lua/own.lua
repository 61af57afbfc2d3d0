-- Policies, and states of windows and buckets that are unused or of their own policy.

local ceil, max, min = math.ceil, math.max, math.min

local function policyOf(id)
  local limit, window, capacity = tonumber(sub(id, 2, 11)), tonumber(sub(id, 12, 22)), tonumber(sub(id, 23, 32))
  return { id = id, algorithm = tonumber(sub(id, 1, 1)), limit = limit, window = window, capacity = capacity }
end

-- After so long without a change every state of the policy equals one that was never used.
local function forgetsAfter(policy)
  if policy.algorithm <= LOG then return 2 * policy.window end
  return max(policy.window, 2 * ceil(policy.capacity * policy.window / policy.limit))
end

-- The window that counts now, what it holds, and whether the clock was set back since.
local function windowNow(policy, state)
  local current = now - now % policy.window
  if not state then return current, 0, false end
  local start, count = unpack(WINDOW, state, BODY)
  if start < current then return current, 0, false end
  if start - now > policy.window then return current, count, true end
  return start, count, false
end

-- The time that a bucket goes on from, its debt then, and whether the clock was set back since.
local function bucketNow(policy, state)
  if not state then return now, 0, false end
  local at, debt = unpack(BUCKET, state, BODY)
  if at <= now then
    debt = debt - (now - at) * policy.limit
    return now, debt > 0 and debt or 0, false
  end
  if at - now <= policy.window then return at, debt, false end
  return now, debt, true
end

-- Writes a state, which is kept for `lifetime` or as the policy says; or a log, with `cost` taken from it if there is one.
local function write(key, policy, state, lifetime, cost)
  if type(state) == 'string' then
    call('SET', key, state, 'PX', lifetime or forgetsAfter(policy))
  elseif cost then
    state:append(policy, cost)
  else
    state:keep(policy)
  end
end

local function windowOf(policy, start, count) return policy.id .. pack(WINDOW, start, count) end

-- A bucket that stands still until a clock that is behind has caught up is kept for so much longer.
local function bucketOf(policy, at, debt)
  local lifetime = forgetsAfter(policy) + at - now
  return policy.id .. pack(BUCKET, at, debt, now + lifetime), lifetime
end

-- Each of these answers whether `cost`, which is no more than the capacity, is admitted. If so, when, and what is owed; if
-- not, how long to wait, what remains, and how long until it is all back. Last, what to write, if anything.
local function decideWindow(policy, state, cost)
  local start, count, isSetBack = windowNow(policy, state)
  local owed = count + cost
  if owed <= policy.capacity then return true, start, owed, windowOf(policy, start, owed) end
  local reset = start + policy.window - now
  return false, reset, max(0, policy.capacity - count), reset, isSetBack and windowOf(policy, start, count)
end

local function decideBucket(policy, state, cost)
  local window, limit = policy.window, policy.limit
  local at, debt, isSetBack = bucketNow(policy, state)
  local owed, most, behind = debt + cost * window, policy.capacity * window, at - now
  if owed <= most then return true, at, owed, bucketOf(policy, at, owed) end
  return false, behind + ceil((owed - most) / limit), max(0, floor((most - debt) / window)),
    behind + ceil(debt / limit), isSetBack and bucketOf(policy, at, debt)
end
